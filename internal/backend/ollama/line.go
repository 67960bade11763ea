package ollama

import (
	"io"

	"ollama-mcp/internal/backend/remote"
)

// lineLimiter keeps a decoder from buffering a line without bound: it ends in
// an error unless left is set again after each line.
type lineLimiter struct {
	r    io.Reader
	left int // bytes
}

func (l *lineLimiter) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, remote.ErrLongLine
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}
