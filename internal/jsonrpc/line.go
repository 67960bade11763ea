package jsonrpc

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// ErrTooLong means that a line was longer than the limit, and was not kept.
var ErrTooLong = errors.New("message too long")

// LineReader splits a stream into lines.
type LineReader struct {
	in  *bufio.Reader
	max int64 // bytes of a line, its end included
	err error // that ended the stream, returned after the last line
}

// NewLineReader returns a reader of in that keeps lines of up to longest bytes, line end
// included.
func NewLineReader(in io.Reader, longest int64) *LineReader {
	return &LineReader{in: bufio.NewReaderSize(in, 64<<10), max: longest}
}

// Ready reports whether a whole line has been read from the stream, so that Next does not wait.
func (l *LineReader) Ready() bool {
	read, _ := l.in.Peek(l.in.Buffered())
	return bytes.IndexByte(read, '\n') >= 0
}

// Next reads a line, writes it to e, and returns it; the caller owns it. For a line that is
// too long it returns ErrTooLong, and only e knows about it. The last line need not have a
// line end.
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
