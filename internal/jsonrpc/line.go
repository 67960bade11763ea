package jsonrpc

import (
	"bufio"
	"errors"
	"io"
)

// ErrTooLong is a line longer than we keep.
var ErrTooLong = errors.New("message too long")

// LineReader splits what a client sends into lines.
type LineReader struct {
	in  *bufio.Reader
	max int64 // bytes of a line, its end included
	err error // that ended the reading, told after the last line
}

// NewLineReader reads from in, and keeps no line of more than longest bytes.
func NewLineReader(in io.Reader, longest int64) *LineReader {
	return &LineReader{in: bufio.NewReaderSize(in, 64<<10), max: longest}
}

// Next reads a line into e and returns it; the caller keeps it. Of a line that
// is too long only e tells. The last line need not have an end.
func (l *LineReader) Next(e *Envelope) ([]byte, error) {
	if l.err != nil {
		return nil, l.err
	}
	e.Reset()
	var line []byte
	for size := int64(0); ; {
		piece, err := l.in.ReadSlice('\n')
		_, _ = e.Write(piece)
		if size += int64(len(piece)); size <= l.max {
			line = append(line, piece...)
		} else {
			line = nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		l.err = err
		switch {
		case size == 0:
			return nil, err
		case size > l.max:
			return nil, ErrTooLong
		}
		return line, nil
	}
}
