package files

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ollama-mcp/internal/fault"
)

// Output is a file that may be written. Nothing is written before Write.
type Output struct {
	argument, name string // for messages
	place
	overwrite bool
}

// Create checks whether a file may be written: it has to lie in a folder that exists, below a
// directory that may be written, and may exist already only if overwrite is set. Its error is
// a *fault.Error.
func (d *Dirs) Create(argument, name string, overwrite bool) (*Output, error) {
	o := &Output{argument: argument, name: name, overwrite: overwrite}
	where, err := places(d.writable(), name, written)
	if err != nil {
		return nil, refuse(argument, name, err)
	}
	var problem error
	for _, o.place = range where {
		problem = o.check()
		if problem == nil {
			return o, nil
		}
		if !errors.Is(problem, fs.ErrNotExist) {
			break
		}
	}
	return nil, o.refuse(problem)
}

// refuse makes an error about the file.
func (o *Output) refuse(err error) *fault.Error {
	switch {
	case errors.Is(err, fs.ErrExist):
		err = errors.New(`exists already: choose another name, or say overwrite: true`)
	case errors.Is(err, fs.ErrNotExist):
		err = errors.New("lies in a folder that does not exist: create it, or choose another one")
	default:
		err = cause(err)
	}
	return refuse(o.argument, o.name, err)
}

// check returns an error if the file cannot be written.
func (o *Output) check() error {
	if o.rel == "." || strings.HasSuffix(o.name, "/") {
		return errors.New("is a directory: name a file in it")
	}
	root, err := o.open()
	if err != nil {
		return err
	}
	defer root.Close()
	folder, err := root.Stat(filepath.Dir(o.rel))
	if err != nil {
		return err
	}
	if !folder.IsDir() {
		return fs.ErrNotExist
	}
	info, err := root.Lstat(o.rel)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("is a directory: name a file in it")
	case !info.Mode().IsRegular(): // a link would be replaced, and what it leads to left as it is
		return errors.New("is no regular file")
	case !o.overwrite:
		return fs.ErrExist
	}
	return nil
}

// Path is the absolute path of the file.
func (o *Output) Path() string { return filepath.Join(o.path(), o.rel) }

// Write writes the file: whole, or not at all if it returns an error. write gets a buffered
// writer. bytes is the size of the file. Its error is a *fault.Error, unless it is that of
// write.
func (o *Output) Write(write func(io.Writer) error) (bytes int64, err error) {
	root, err := o.open()
	if err != nil {
		return 0, o.refuse(err)
	}
	defer root.Close()
	next := filepath.Join(filepath.Dir(o.rel), ".ollama-mcp-"+strings.ToLower(rand.Text())+".tmp")
	f, err := root.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, o.refuse(err)
	}
	defer root.Remove(next) // fails if it was renamed, as it should be
	bytes, err = o.fill(f, write)
	if bad := f.Close(); err == nil {
		err = o.asFault(bad)
	}
	if err != nil {
		return 0, err
	}
	if err := o.publish(root, next); err != nil {
		return 0, o.refuse(err)
	}
	return bytes, nil
}

// fill writes a file that has no name yet that anybody knows. It returns the errors of Write.
func (o *Output) fill(f *os.File, write func(io.Writer) error) (bytes int64, err error) {
	buffered := bufio.NewWriter(f)
	failed := write(buffered)
	if err := buffered.Flush(); err != nil { // also one that write has met
		return 0, o.asFault(err)
	}
	if failed != nil {
		return 0, failed
	}
	if err := f.Sync(); err != nil { // otherwise the name could reach the disk before the contents
		return 0, o.asFault(err)
	}
	info, err := f.Stat()
	if err != nil {
		return 0, o.asFault(err)
	}
	return info.Size(), nil
}

// publish gives the file that was written its name. Without overwrite it replaces no file, even
// one that has come since it was checked.
func (o *Output) publish(root *os.Root, next string) error {
	if o.overwrite {
		if err := o.check(); err != nil {
			return err
		}
		return root.Rename(next, o.rel)
	}
	err := root.Link(next, o.rel)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := o.check(); err != nil { // some file systems have no links
		return err
	}
	return root.Rename(next, o.rel)
}

// asFault says that a file could not be written; nil for no error.
func (o *Output) asFault(err error) error {
	if err == nil {
		return nil
	}
	e := refuse(o.argument, o.name, fmt.Errorf("could not be written, and nothing of it was left: %w", cause(err)))
	e.Code = fault.Internal
	return e
}
