package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/share"
)

// Memory bounds how many bytes answers take while they arrive: all those together
// whose clients share it, those of one caller, and each by itself. An answer that has been
// returned is no longer counted.
type Memory struct {
	answer int64
	all    *share.Limit
}

// NewMemory returns a bound on all answers together and on one answer, in bytes; 0
// means 256 MiB and 64 MiB.
func NewMemory(total, answer int64) *Memory {
	return &Memory{answer: cmp.Or(answer, 64<<20), all: share.New(cmp.Or(total, 256<<20))}
}

// Held is how many bytes the answers that are arriving take.
func (m *Memory) Held() int64 { return m.all.Taken() }

// account is what one answer has taken. The zero account has no bound.
type account struct {
	most int64 // bytes
	part *share.Part
}

// account makes that of an answer for the caller in a context.
func (m *Memory) account(ctx context.Context) account {
	return account{m.answer, m.all.Part(caller.FromContext(ctx).ID)}
}

// hold takes bytes for the answer, or returns an error of class backend.TooLarge.
func (a *account) hold(bytes int) error {
	n := int64(bytes)
	if a.part == nil {
		return nil
	}
	if a.part.Taken()+n > a.most {
		return &backend.Error{Class: backend.TooLarge, Message: fmt.Sprintf("it takes more than the %s allowed for one answer", size(a.most))}
	}
	over, ok := errors.AsType[*share.Over](a.part.Take(n))
	switch {
	case !ok:
		return nil
	case over.OfCaller:
		return &backend.Error{Class: backend.TooLarge, Message: fmt.Sprintf("the answers to this caller that are arriving take %s, as much as they may at the moment", size(over.Taken))}
	}
	return &backend.Error{Class: backend.TooLarge, Message: fmt.Sprintf("the answers that are arriving take all of the %s allowed for them", size(over.Max))}
}

// release gives back all that the answer has taken.
func (a *account) release() { a.part.Give() }

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
