package tools

import (
	"context"
	"strings"
	"sync"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
)

// asking is how far the asking of a question has come. All whose calls wait for the
// answer look on.
type asking struct {
	progress *progress // is looked at, and reports to nobody itself

	// mu guards what follows, and nothing is asked under it.
	mu   sync.Mutex
	work work           // that is done at the moment; the zero work while it waits
	come backend.Answer // the pieces that have come, Tokens counting them
}

// work is that of a host on a question.
type work struct {
	host backend.Backend
	rung route.Rung
	m    manner
}

func newAsking() *asking { return &asking{progress: newProgress(nil)} }

// begins: a host works on the question from now on.
func (a *asking) begins(w work) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.work, a.come = w, backend.Answer{}
}

// failed: the host does not work on it any more. What it was doing when the time for
// all of it was over is left to be seen.
func (a *asking) failed(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ctx.Err() == nil {
		a.work, a.come = work{}, backend.Answer{}
	}
}

// answering takes in the pieces of an answer as they come. onFirst is called before
// the first.
func (a *asking) answering(onFirst func()) func(backend.Piece) {
	count := a.progress.answering()
	var text, thinking strings.Builder
	return func(piece backend.Piece) {
		count(piece)
		text.WriteString(piece.Text)
		thinking.WriteString(piece.Thinking)
		a.mu.Lock()
		a.come.Text, a.come.Thinking = text.String(), thinking.String()
		a.come.Tokens++
		first := a.come.Tokens == 1
		a.mu.Unlock()
		if first {
			onFirst()
		}
	}
}

// partial is the answer as far as it has come, and the work on it.
func (a *asking) partial() (come backend.Answer, w work) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.come, a.work
}
