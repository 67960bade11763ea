package remote

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// ErrLongLine is the error of a line that is longer than Options.MaxLine.
var ErrLongLine = errors.New("line too long")

// Lines reads the body of an answer line by line. One read takes all that has arrived,
// however many lines that is.
type Lines struct {
	body io.ReadCloser
	hold func(bytes int) error // takes memory for long lines
	max  int                   // bytes of a line

	buf    []byte
	last   int   // start of the line that was returned last
	begin  int   // start of the next line
	end    int   // end of the bytes that have been read
	err    error // of the last read
	skipLF bool  // the last line ended with CR, and a LF behind it belongs to that
}

// buffers hold lines of the usual length, several at a time.
var buffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// NewLines returns the lines of a body. A line has at most max bytes.
func NewLines(body io.ReadCloser, max int) *Lines {
	return newLines(body, max, func(int) error { return nil })
}

func newLines(body io.ReadCloser, max int, hold func(int) error) *Lines {
	return &Lines{body: body, max: max, hold: hold, buf: buffers.Get().(*[4 << 10]byte)[:]}
}

// Next returns the next line without its end. It stays valid until the next call of a
// method. The last line needs no line end. After it comes the error that the body ended
// with, which is io.EOF where the body is complete.
func (l *Lines) Next() ([]byte, error) { return l.next(false) }

// NextOfEvents is Next for the lines of an event stream, which end with CR, LF or both. A
// line that ends with CR is returned before it is known whether LF follows.
func (l *Lines) NextOfEvents() ([]byte, error) { return l.next(true) }

func (l *Lines) next(orCR bool) ([]byte, error) {
	searched := 0
	for {
		if l.skipLF && l.begin < l.end {
			l.skipLF = false
			if l.buf[l.begin] == '\n' {
				l.begin++
			}
		}
		unsearched := l.buf[l.begin+searched : l.end]
		i := bytes.IndexByte(unsearched, '\n')
		if orCR {
			if i >= 0 {
				unsearched = unsearched[:i]
			}
			if cr := bytes.IndexByte(unsearched, '\r'); cr >= 0 {
				i, l.skipLF = cr, true
			}
		}
		if i >= 0 {
			return l.take(searched+i, 1)
		}
		searched = l.end - l.begin
		switch {
		case searched > l.max:
			return nil, ErrLongLine
		case l.err != nil && searched > 0:
			return l.take(searched, 0)
		case l.err != nil:
			return nil, l.err
		}
		if err := l.read(); err != nil {
			return nil, err
		}
	}
}

// take returns a line of so many bytes, and passes its end.
func (l *Lines) take(length, lineEnd int) ([]byte, error) {
	if length > l.max {
		return nil, ErrLongLine
	}
	line := l.buf[l.begin : l.begin+length]
	l.last = l.begin
	l.begin += length + lineEnd
	return line, nil
}

// read appends the bytes that have arrived to the buffer.
func (l *Lines) read() error {
	if l.begin > 0 {
		copy(l.buf, l.buf[l.begin:l.end])
		l.last, l.begin, l.end = 0, 0, l.end-l.begin
	}
	if l.end == len(l.buf) {
		if err := l.hold(len(l.buf)); err != nil {
			return err
		}
		longer := make([]byte, 2*len(l.buf))
		copy(longer, l.buf)
		l.recycle()
		l.buf = longer
	}
	n, err := l.body.Read(l.buf[l.end:])
	l.end, l.err = l.end+n, err
	return nil
}

// Unread puts the last line back, to be read again.
func (l *Lines) Unread() { l.begin = l.last }

// Read reads the rest of the body without regard to lines.
func (l *Lines) Read(p []byte) (int, error) {
	if l.begin < l.end {
		n := copy(p, l.buf[l.begin:l.end])
		l.begin += n
		return n, nil
	}
	if l.err != nil {
		return 0, l.err
	}
	return l.body.Read(p)
}

// Max is how many bytes a line may have.
func (l *Lines) Max() int { return l.max }

// Close closes the body, which ends a read that is under way in another goroutine.
func (l *Lines) Close() error { return l.body.Close() }

// recycle gives up the buffer, for another answer to use.
func (l *Lines) recycle() {
	if len(l.buf) == len([4 << 10]byte{}) {
		buffers.Put((*[4 << 10]byte)(l.buf))
	}
	l.buf = nil
}
