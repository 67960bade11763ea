package ollama

import (
	"io"

	"ollama-mcp/internal/backend/remote"
)

// lineLimiter keeps a decoder from buffering a value without bound: it ends in an error
// unless next is called after each value. It takes memory for the longest.
type lineLimiter struct {
	r    io.Reader
	hold func(bytes int) error

	left    int // bytes that the value may still have
	length  int // bytes of the value that have been read
	longest int // bytes for which memory has been taken
}

// next begins a value of at most so many bytes.
func (l *lineLimiter) next(bytes int) { l.left, l.length = bytes, 0 }

func (l *lineLimiter) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, remote.ErrLongLine
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	l.length += n
	if l.length > l.longest {
		if full := l.hold(l.length - l.longest); full != nil {
			return n, full
		}
		l.longest = l.length
	}
	return n, err
}
