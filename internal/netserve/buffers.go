package netserve

import "sync"

// mostBuffered is the size in bytes above which a buffer is not reused: few answers need so
// much memory, which the others would hold.
const mostBuffered = 64 << 10

// Buffers are reusable buffers for answers. The zero value is ready to use.
type Buffers struct{ pool sync.Pool }

// Take returns a buffer, which may have been used before.
func (b *Buffers) Take() *[]byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return buffer
	}
	return new([]byte)
}

// Give makes a buffer available again. Nothing may read it any more. It may be nil.
func (b *Buffers) Give(buffer *[]byte) {
	if buffer != nil && cap(*buffer) <= mostBuffered {
		b.pool.Put(buffer)
	}
}
