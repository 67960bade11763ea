package files

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unicode/utf8"
)

// Lines are the lines of text files. They stay in the files until they are read, so that
// their number takes little memory, and no file is open meanwhile.
type Lines struct {
	argument string
	files    []lineFile
	spans    []span
}

// lineFile is a file that has lines.
type lineFile struct {
	name  string
	place place
	info  fs.FileInfo // as it was when the lines were found
}

// span is where a line is.
type span struct {
	file   int32
	length int32
	line   int32 // its number, from 1
	at     int64
}

// Lines finds the lines of the files that paths and patterns name. Blank lines are left out.
// It refuses more than most lines, and lines of more than mostBytes. Its error is a
// *fault.Error.
func (d *Dirs) Lines(ctx context.Context, argument string, patterns []string, most int, mostBytes int) (*Lines, error) {
	list, err := d.List(ctx, argument, patterns, defaultFiles)
	if err != nil {
		return nil, err
	}
	lines := &Lines{argument: argument}
	for i, p := range list.found {
		f, info, err := p.openRegular()
		if err == nil {
			lines.files = append(lines.files, lineFile{list.Name(i), p.place, info})
			err = lines.find(ctx, f, most, mostBytes)
			_ = f.Close() // it was only read
		}
		if err != nil {
			return nil, refuse(argument, list.Name(i), cause(err))
		}
	}
	return lines, nil
}

// find adds the lines of the last file, which is open.
func (l *Lines) find(ctx context.Context, f *os.File, most, mostBytes int) error {
	file := len(l.files) - 1
	r := bufio.NewReaderSize(f, 64<<10)
	var at int64
	for number := 1; ; number++ {
		length, blank, last := 0, true, byte(0)
		for {
			part, err := r.ReadSlice('\n')
			length += len(part)
			for _, b := range part {
				blank = blank && (b == ' ' || b == '\t' || b == '\r' || b == '\n')
				if b == 0 {
					return fmt.Errorf("line %d is not text", number)
				}
			}
			if length > mostBytes+2 {
				return fmt.Errorf("line %d has more than %d bytes, which is the most for an input", number, mostBytes)
			}
			if len(part) > 0 {
				last = part[len(part)-1]
			}
			if err == io.EOF {
				if length == 0 {
					return unchanged(f, l.files[file].info)
				}
				break
			}
			if err == nil {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !blank {
			end := length
			if last == '\n' {
				end--
			}
			l.spans = append(l.spans, span{file: int32(file), line: int32(number), at: at, length: int32(end)})
			if len(l.spans) > most {
				return fmt.Errorf("there are more than %d lines: split the file", most)
			}
		}
		at += int64(length)
	}
}

// Len is the number of lines.
func (l *Lines) Len() int { return len(l.spans) }

// File is the file of a line, by its path below the allowed directory.
func (l *Lines) File(i int) string { return l.files[l.spans[i].file].name }

// Name says which line it is, by its file and its number there.
func (l *Lines) Name(i int) string { return fmt.Sprintf("%s:%d", l.File(i), l.spans[i].line) }

// Size is how many bytes a line has in its file.
func (l *Lines) Size(i int) int { return int(l.spans[i].length) }

// Read returns a line, without the characters that end it. Its error is a *fault.Error.
func (l *Lines) Read(i int) (string, error) {
	s := l.spans[i]
	file := l.files[s.file]
	data, err := file.read(s)
	if err == nil && !utf8.Valid(data) {
		err = fmt.Errorf("line %d is not text in UTF-8", s.line)
	}
	if err != nil {
		return "", refuse(l.argument, file.name, cause(err))
	}
	if n := len(data); n > 0 && data[n-1] == '\r' {
		data = data[:n-1]
	}
	if s.line == 1 && s.at == 0 {
		data = trimMark(data)
	}
	return string(data), nil
}

// read reads a line of the file, unless that is another by now.
func (l lineFile) read(s span) ([]byte, error) {
	f, info, err := l.place.openRegular()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if !os.SameFile(info, l.info) {
		return nil, errChanged
	}
	data := make([]byte, s.length)
	if _, err := f.ReadAt(data, s.at); err != nil && err != io.EOF {
		return nil, err
	}
	return data, unchanged(f, l.info)
}

func trimMark(data []byte) []byte {
	if len(data) >= 3 && string(data[:3]) == "\ufeff" {
		return data[3:]
	}
	return data
}
