package server

import "sync"

// mostBuffered is the size, in bytes, above which a buffer is not used again: few answers
// need so much, and it would be held for the others.
const mostBuffered = 64 << 10

// buffers are to write answers in, one after another. The zero value has none, and makes
// what is taken.
type buffers struct{ pool sync.Pool }

func (b *buffers) take() *[]byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return buffer
	}
	return new([]byte)
}

// give takes back a buffer that nobody reads any more. It may be nil.
func (b *buffers) give(buffer *[]byte) {
	if buffer != nil && cap(*buffer) <= mostBuffered {
		b.pool.Put(buffer)
	}
}
