package netserve

import "sync"

// mostBuffered is the size, in bytes, above which a buffer is not used again: few answers
// need so much, and it would be held for the others.
const mostBuffered = 64 << 10

// Buffers are to write answers in, one after another. The zero value has none, and makes
// what is taken.
type Buffers struct{ pool sync.Pool }

// Take returns a buffer, which may have been used before.
func (b *Buffers) Take() *[]byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return buffer
	}
	return new([]byte)
}

// Give takes back a buffer that nobody reads any more. It may be nil.
func (b *Buffers) Give(buffer *[]byte) {
	if buffer != nil && cap(*buffer) <= mostBuffered {
		b.pool.Put(buffer)
	}
}
