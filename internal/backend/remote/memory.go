package remote

import (
	"cmp"
	"fmt"
	"io"
	"sync/atomic"

	"ollama-mcp/internal/backend"
)

// Memory bounds how many bytes answers take while they arrive: all those together
// whose clients share it, and each by itself. An answer that has been returned is no
// longer counted.
type Memory struct {
	total, answer int64
	held          atomic.Int64 // by all answers together
}

// NewMemory returns a bound on all answers together and on one answer, in bytes; 0
// means 256 MiB and 64 MiB.
func NewMemory(total, answer int64) *Memory {
	return &Memory{total: cmp.Or(total, 256<<20), answer: cmp.Or(answer, 64<<20)}
}

// Held is how many bytes the answers that are arriving take.
func (m *Memory) Held() int64 { return m.held.Load() }

// account is the share of one answer. Without a memory it has no bound.
type account struct {
	memory *Memory
	held   int64
}

// hold takes bytes for the answer, or returns an error of class backend.TooLarge.
func (a *account) hold(bytes int) error {
	m, n := a.memory, int64(bytes)
	if m == nil {
		return nil
	}
	if a.held+n > m.answer {
		return &backend.Error{Class: backend.TooLarge, Message: fmt.Sprintf("it takes more than the %s allowed for one answer", size(m.answer))}
	}
	if m.held.Add(n) > m.total {
		m.held.Add(-n)
		return &backend.Error{Class: backend.TooLarge, Message: fmt.Sprintf("the answers that are arriving take all of the %s allowed for them", size(m.total))}
	}
	a.held += n
	return nil
}

// release gives back all that the answer has taken.
func (a *account) release() {
	if a.memory != nil {
		a.memory.held.Add(-a.held)
		a.held = 0
	}
}

// size is a number of bytes for people.
func size(bytes int64) string {
	if bytes < 1<<20 {
		return fmt.Sprintf("%d bytes", bytes)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// held is a reader that takes memory for all that is read.
type held struct {
	io.Reader
	hold func(bytes int) error
}

func (h held) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if full := h.hold(n); full != nil {
		return n, full
	}
	return n, err
}
