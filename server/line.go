package server

import (
	"bufio"
	"errors"
	"io"
)

// errTooLong is a line longer than we keep.
var errTooLong = errors.New("message too long")

// lineReader splits what a client sends into lines.
type lineReader struct {
	in  *bufio.Reader
	max int64 // bytes of a line, its end included
	err error // that ended the reading, told after the last line
}

func newLineReader(in io.Reader, longest int64) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(in, 64<<10), max: longest}
}

// next reads a line into e and returns it; the caller keeps it. Of a line that
// is too long only e tells. The last line need not have an end.
func (l *lineReader) next(e *envelope) ([]byte, error) {
	if l.err != nil {
		return nil, l.err
	}
	e.reset()
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
			return nil, errTooLong
		}
		return line, nil
	}
}
