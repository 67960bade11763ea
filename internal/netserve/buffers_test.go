package netserve

import "testing"

func TestBufferOfALargeAnswerIsNotHeld(t *testing.T) {
	var b Buffers
	large := make([]byte, 0, mostBuffered+1)
	b.Give(&large)
	if got := b.Take(); cap(*got) != 0 {
		t.Errorf("got a buffer of %d bytes", cap(*got))
	}
}
