package files

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf16"
	"unicode/utf8"

	"ollama-mcp/internal/fault"
)

// Limits bound what is read for one call. Zero fields mean the defaults.
type Limits struct {
	Files     int   // how many files; 0 means 200
	FileBytes int64 // of one file; 0 means 10 MiB
	AllBytes  int64 // of all files together; 0 means 32 MiB

	// Hold is asked for memory before a file of so many bytes is read; its error ends the reading.
	// nil means that there is enough.
	Hold func(bytes int64) error
}

// The defaults of Limits.
const (
	defaultFiles     = 200
	defaultFileBytes = 10 << 20
	defaultAllBytes  = 32 << 20
)

func (l Limits) withDefaults() Limits {
	l.Files, l.FileBytes, l.AllBytes = cmp.Or(l.Files, defaultFiles), cmp.Or(l.FileBytes, defaultFileBytes), cmp.Or(l.AllBytes, defaultAllBytes)
	if l.Hold == nil {
		l.Hold = func(int64) error { return nil }
	}
	return l
}

// File is what was read: a text or an image.
type File struct {
	Name  string // as List.Name has it
	Text  string
	Image []byte // the bytes of an image; nil for a text

	Matched bool  // by a pattern: nobody has named the file
	Err     error // why there are no contents; nil if there are
}

// Read reads all files that paths and patterns name, in their order and each once. argument is
// their name in messages. Of files that patterns match some may have an Err, but not all. The error of
// Read is a *fault.Error.
func (d *Dirs) Read(ctx context.Context, argument string, patterns []string, l Limits) ([]File, error) {
	l = l.withDefaults()
	list, err := d.List(ctx, argument, patterns, l.Files)
	if err != nil {
		return nil, err
	}
	all, left := make([]File, 0, list.Len()), l.AllBytes
	var problem error // of the first file that cannot be read
	for i := range list.Len() {
		var full error
		before := left
		f, err := list.Read(ctx, i, l.FileBytes, func(bytes int64) error {
			if left -= bytes; left < 0 {
				full = fault.Invalidf("argument %q: the files have more than %d MiB together: name fewer", argument, l.AllBytes>>20)
			} else {
				full = l.Hold(bytes)
			}
			return full
		})
		if err != nil {
			if !f.Matched || full != nil || ctx.Err() != nil {
				return nil, err
			}
			problem, left = cmp.Or(problem, err), before
		}
		all = append(all, f)
	}
	if !slices.ContainsFunc(all, func(f File) bool { return f.Err == nil }) {
		return nil, problem
	}
	return all, nil
}

// List is a list of files that may be read, and that need not be read yet.
type List struct {
	argument string
	found    []found
}

type found struct {
	place
	matched bool // by a pattern, and not named as well
}

// List finds the files that paths and patterns name, in their order and each once. It fails if
// there are more than most, or if one names nothing. Its error is a *fault.Error.
func (d *Dirs) List(ctx context.Context, argument string, patterns []string, most int) (*List, error) {
	list := &List{argument: argument}
	seen := make(map[string]int) // indexes of files by their paths
	budget := maxVisited
	for i, pattern := range patterns {
		at := fmt.Sprintf("%s[%d]", argument, i)
		where, matched, err := d.find(ctx, pattern, most, &budget)
		if err != nil {
			return nil, refuse(at, pattern, err)
		}
		for _, p := range where {
			full := filepath.Join(p.path(), p.rel)
			if at, again := seen[full]; again {
				list.found[at].matched = list.found[at].matched && matched
				continue
			}
			seen[full] = len(list.found)
			if list.found = append(list.found, found{p, matched}); len(list.found) > most {
				return nil, refuse(at, pattern, tooMany(most))
			}
		}
	}
	return list, nil
}

func tooMany(most int) error { return fmt.Errorf("names more than %d files: name fewer", most) }

// Len is the number of files.
func (l *List) Len() int { return len(l.found) }

// Name is the path of a file below its allowed directory, with slashes, and in one line whatever
// characters it has.
func (l *List) Name(i int) string { return shown(filepath.ToSlash(l.found[i].rel)) }

// Read reads one of the files, of which it accepts so many bytes; 0 means 10 MiB. hold is as in Limits.
// Its error is a *fault.Error.
func (l *List) Read(ctx context.Context, i int, most int64, hold func(bytes int64) error) (File, error) {
	most = cmp.Or(most, defaultFileBytes)
	f := File{Name: l.Name(i), Matched: l.found[i].matched}
	var full error
	data, err := l.found[i].contents(ctx, most, func(bytes int64) error {
		full = hold(bytes)
		return full
	})
	if full != nil {
		return f, full
	}
	if err == nil {
		err = f.decode(data)
	}
	if err != nil {
		f.Err = cause(err)
		return f, refuse(l.argument, f.Name, f.Err)
	}
	return f, nil
}

// decode takes the data of a file for a text or an image.
func (f *File) decode(data []byte) error {
	if isImage(data) {
		f.Image = data
		return nil
	}
	text, err := text(data)
	f.Text = text
	return err
}

func isImage(data []byte) bool { return strings.HasPrefix(http.DetectContentType(data), "image/") }

// The byte order marks of UTF-16.
var littleEndian, bigEndian = []byte{0xff, 0xfe}, []byte{0xfe, 0xff}

// text is the text in the data of a file: UTF-8, or UTF-16 that begins with a byte order mark.
func text(data []byte) (string, error) {
	switch {
	case bytes.HasPrefix(data, littleEndian) && len(data)%2 == 0:
		return fromUTF16(data[2:], binary.LittleEndian), nil
	case bytes.HasPrefix(data, bigEndian) && len(data)%2 == 0:
		return fromUTF16(data[2:], binary.BigEndian), nil
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return "", errNoText
	}
	return string(data), nil
}

var errNoText = errors.New("is neither an image nor text in UTF-8")

// headSize is how much of a file tells of most that it has no text, in bytes. More says no more about its type.
const headSize = 512

// checkHead refuses a file that begins so, if it is clear that it is neither an image nor text: a large
// program or PDF need not be read for that, nor counted.
func checkHead(head []byte) error {
	switch {
	case isImage(head), bytes.HasPrefix(head, littleEndian), bytes.HasPrefix(head, bigEndian):
		return nil
	case bytes.HasPrefix(head, []byte("%PDF-")):
		return errors.New("is a PDF, whose text this server does not read: convert it, for example with pdftotext")
	case bytes.IndexByte(head, 0) >= 0:
		return errNoText
	}
	return nil
}

func fromUTF16(data []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return string(utf16.Decode(units))
}

// contents reads a file that does not change meanwhile, unless hold says that it takes too much.
func (p place) contents(ctx context.Context, most int64, hold func(bytes int64) error) ([]byte, error) {
	f, info, err := p.openRegular()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > most {
		return nil, fmt.Errorf("has %d bytes, more than the %d that are read of a file", info.Size(), most)
	}
	head := make([]byte, headSize)
	read, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if err := checkHead(head[:read]); err != nil {
		return nil, err
	}
	if err := cmp.Or(ctx.Err(), hold(info.Size())); err != nil {
		return nil, err
	}
	data := make([]byte, info.Size(), info.Size()+1)
	n, err := io.ReadFull(f, data[:cap(data)]) // the end of the file is where it should be
	if data = data[:n]; err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	if err := unchanged(f, info); err != nil || int64(len(data)) != info.Size() {
		return nil, cmp.Or(err, errChanged)
	}
	return data, nil
}

// errChanged is the error of a file that was written while it was read.
var errChanged error = &fault.Error{
	Code: fault.InvalidArgument, Message: "changed while it was read", Retryable: true,
	Hint: "try again when nothing writes to it",
}

// unchanged returns an error if a file is not what it was when it was opened.
func unchanged(f *os.File, was fs.FileInfo) error {
	is, err := f.Stat()
	if err != nil {
		return err
	}
	if is.Size() != was.Size() || !is.ModTime().Equal(was.ModTime()) {
		return errChanged
	}
	return nil
}

// openRegular opens a file if it is a regular one. It does not wait for the other end of a
// pipe, and touches no device, since that may have an effect.
func (p place) openRegular() (f *os.File, info fs.FileInfo, err error) {
	root, err := p.open()
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	if info, err = root.Stat(p.rel); err != nil {
		return nil, nil, err
	}
	if err := isRegular(info); err != nil {
		return nil, nil, err
	}
	// The file may have been replaced since, so opening must not block either.
	if f, err = root.OpenFile(p.rel, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = isRegular(info)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// isRegular returns an error that says what a file is that is no regular one.
func isRegular(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return errors.New("is a directory: name the files in it, for example with /* or /**/*.txt at the end")
	case mode&fs.ModeNamedPipe != 0:
		return errors.New("is a pipe, and not a regular file")
	case mode&fs.ModeDevice != 0:
		return errors.New("is a device, and not a regular file")
	case mode&fs.ModeSocket != 0:
		return errors.New("is a socket, and not a regular file")
	}
	return errors.New("is not a regular file")
}
