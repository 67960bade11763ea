// Package files reads and writes files for callers, in the directories that the operator
// allows.
//
// It promises that nothing outside these directories is read or written, whatever links and
// ".." a path has; that only regular files are read, as they were at one moment; that the work
// for a pattern is bounded; and that a file is written whole or not at all. What the text of a
// file is used for is left to the packages that ask for it.
package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"ollama-mcp/internal/fault"
)

// Dirs are the directories that may be used. The zero value allows none.
type Dirs struct {
	read, write []dir
}

// dir is a directory in which paths may lie.
type dir struct {
	name string // absolute, as the operator has written it
	real string // absolute, without links
	// within is the folder below real that may be used; "." for all of it. It is opened
	// through real, so that a link on the way cannot lead out.
	within string
}

// New allows directories. It fails if one of them does not exist or is no directory.
func New(read, write []string) (*Dirs, error) {
	d := new(Dirs)
	var err error
	if d.read, err = directories("allow-dir", read); err != nil {
		return nil, err
	}
	d.write, err = directories("allow-write", write)
	return d, err
}

func directories(option string, names []string) (all []dir, err error) {
	for _, name := range names {
		d := dir{within: "."}
		if d.name, err = filepath.Abs(name); err != nil {
			return nil, fmt.Errorf("%s: %w", option, err)
		}
		if d.real, err = filepath.EvalSymlinks(d.name); err != nil {
			return nil, fmt.Errorf("%s: %w", option, err)
		}
		if info, err := os.Stat(d.real); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("%s: %s is not a directory", option, name)
		}
		all = append(all, d)
	}
	return all, nil
}

// Narrow returns the part of the directories that lies in others too: read for what may be
// read, and write for what may be written. A nil list narrows nothing, an empty one leaves
// nothing. No list makes more allowed than was.
func (d *Dirs) Narrow(read, write []string) *Dirs {
	return &Dirs{read: narrow(d.read, read), write: narrow(d.write, write)}
}

func narrow(all []dir, to []string) (left []dir) {
	if to == nil {
		return all
	}
	for _, d := range all {
		for _, name := range to {
			name = filepath.Clean(name)
			if rel, ok := d.relative(name); ok {
				d := d
				d.name, d.within = name, filepath.Join(d.within, rel)
				left = append(left, d)
			} else if d.isBelow(name) {
				left = append(left, d)
			}
		}
	}
	return left
}

// ReadsAny reports whether there is a directory that may be read.
func (d *Dirs) ReadsAny() bool { return len(d.readable()) > 0 }

// WritesAny reports whether there is a directory that may be written.
func (d *Dirs) WritesAny() bool { return len(d.writable()) > 0 }

// readable are the directories that may be read; none of nil.
func (d *Dirs) readable() []dir {
	if d == nil {
		return nil
	}
	return d.read
}

// writable are the directories that may be written; none of nil.
func (d *Dirs) writable() []dir {
	if d == nil {
		return nil
	}
	return d.write
}

// path is the directory's own path without links, as far as the operator's part of it goes.
func (d dir) path() string { return filepath.Join(d.real, d.within) }

// relative returns where an absolute path lies in the directory, as far as its words tell.
func (d dir) relative(name string) (rel string, ok bool) {
	for _, root := range []string{d.name, d.path()} {
		rel, err := filepath.Rel(root, name)
		if err == nil && filepath.IsLocal(rel) {
			return rel, true
		}
	}
	return "", false
}

// isBelow reports whether the directory lies in another one.
func (d dir) isBelow(parent string) bool {
	for _, own := range []string{d.name, d.path()} {
		if rel, err := filepath.Rel(parent, own); err == nil && filepath.IsLocal(rel) {
			return true
		}
	}
	return false
}

// open opens the directory for work that cannot leave it.
func (d dir) open() (*os.Root, error) {
	root, err := os.OpenRoot(d.real)
	if err != nil || d.within == "." {
		return root, err
	}
	defer root.Close()
	return root.OpenRoot(d.within)
}

// place is where a path lies.
type place struct {
	dir
	rel string // below the directory, in the form of the system
}

// places are where a path may lie: an absolute one in the directories that contain it, and a
// relative one in each of them.
func places(dirs []dir, name, verb string) (all []place, err error) {
	if name == "" || strings.ContainsRune(name, 0) {
		return nil, errors.New("is not a path")
	}
	if len(dirs) == 0 {
		return nil, off(verb)
	}
	for _, d := range dirs {
		rel, ok := filepath.Clean(filepath.FromSlash(name)), true
		if filepath.IsAbs(rel) {
			rel, ok = d.relative(rel)
		}
		if ok && filepath.IsLocal(rel) {
			all = append(all, place{d, rel})
		}
	}
	if all == nil {
		return nil, outside(dirs, verb)
	}
	return all, nil
}

// outside is the error of a path in no directory that may be used.
func outside(dirs []dir, verb string) *fault.Error {
	const most = 5
	names := make([]string, 0, most)
	for _, d := range dirs[:min(most, len(dirs))] {
		names = append(names, d.name)
	}
	if len(dirs) > most {
		names = append(names, "…")
	}
	return &fault.Error{
		Code: fault.Forbidden, Message: "is outside the directories that may be " + verb,
		Hint: "these may be: " + strings.Join(slices.Compact(names), ", "),
	}
}

// off is the error of a caller who may use no directory at all.
func off(verb string) *fault.Error {
	option := "--allow-dir"
	if verb == written {
		option = "--allow-write"
	}
	return &fault.Error{
		Code: fault.Forbidden, Message: "no directory may be " + verb,
		Hint: "the operator of this server allows directories with " + option,
	}
}

// What is done with files, for messages.
const (
	read    = "read"
	written = "written"
)

// cause says what kept a file from being used, without the path that the system puts before
// it: the caller knows it by another.
func cause(err error) error {
	if known, ok := errors.AsType[*fault.Error](err); ok {
		return known
	}
	if p, ok := errors.AsType[*os.PathError](err); ok {
		err = p.Err
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		err = l.Err
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errors.New("does not exist")
	case errors.Is(err, os.ErrPermission):
		return errors.New("may not be used by the user that this server runs as")
	case err.Error() == escapes:
		return &fault.Error{Code: fault.Forbidden, Message: "leads out of the allowed directory by a link"}
	}
	return err
}

// escapes is the text of the error with which package os refuses a path that leaves a root.
const escapes = "path escapes from parent"

// refuse makes an error about an argument that names a file.
func refuse(argument, name string, err error) *fault.Error {
	e := &fault.Error{Code: fault.InvalidArgument, Message: err.Error()}
	if known, ok := errors.AsType[*fault.Error](err); ok {
		e = known.Fault()
	}
	if len(name) > 200 {
		name = strings.ToValidUTF8(name[:200], "") + "…"
	}
	e.Message = fmt.Sprintf("argument %q: %s: %s", argument, shown(name), e.Message)
	return e
}

// shown is a path as texts have it: in one line, with escapes for what nobody can see. Anybody
// may have made the file, and a model would take a second line of its name for the contents of
// another file, or for instructions.
func shown(name string) string {
	if utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return name
	}
	quoted := strconv.Quote(name)
	return quoted[1 : len(quoted)-1]
}
