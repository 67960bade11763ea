package tools

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
)

// asking is how far the asking of a question has come. All whose calls wait for the
// answer look on.
type asking struct {
	progress *progress // is looked at, and reports to nobody itself

	mu    sync.Mutex // guards tries; nothing is asked under it
	tries []*try     // under way, two at most
}

// try is a host's work on a question, and how far it has come.
type try struct {
	work
	asking   *asking
	progress *progress      // of this try alone; reports to nobody
	come     backend.Answer // the pieces that have come, Tokens counting them; guarded by the asking's mutex
}

// work is that of a host on a question.
type work struct {
	host backend.Backend
	rung route.Rung
	m    manner
}

func newAsking() *asking { return &asking{progress: newProgress(nil)} }

// begins: a host works on the question from now on, a hedge beside the one that does
// so already. Progress tells what the host is doing until the first piece comes.
func (a *asking) begins(w work, doing string, hedge bool) *try {
	t := &try{work: w, asking: a, progress: newProgress(nil)}
	a.mu.Lock()
	if hedge && len(a.tries) > 0 {
		doing = fmt.Sprintf("asking %s too, since %s is late", w.host.Name(), a.tries[0].host.Name())
	}
	a.tries = append(a.tries, t)
	a.mu.Unlock()
	t.progress.asked(doing)
	a.progress.is(a.say)
	return t
}

// failed: the host does not work on it any more. What it was doing when the time for
// all of it was over is left to be seen.
func (t *try) failed(ctx context.Context) {
	a := t.asking
	a.mu.Lock()
	defer a.mu.Unlock()
	if ctx.Err() == nil {
		a.tries = slices.DeleteFunc(a.tries, func(other *try) bool { return other == t })
	}
}

// forget makes room for the tries of another rung.
func (a *asking) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tries = nil
}

// answering takes in the pieces of an answer as they come. onFirst is called before
// the first.
func (t *try) answering(onFirst func()) func(backend.Piece) {
	count := t.progress.answering()
	var text, thinking strings.Builder
	return func(piece backend.Piece) {
		count(piece)
		text.WriteString(piece.Text)
		thinking.WriteString(piece.Thinking)
		t.asking.mu.Lock()
		t.come.Text, t.come.Thinking = text.String(), thinking.String()
		t.come.Tokens++
		first := t.come.Tokens == 1
		t.asking.mu.Unlock()
		if first {
			onFirst()
		}
	}
}

// partial is the answer as far as it has come, and the work on it: the zero work while
// the question waits for a host.
func (a *asking) partial() (come backend.Answer, w work) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.tries) == 0 {
		return come, w
	}
	t := a.foremost()
	return t.come, t.work
}

// foremost is the try that has come farthest; the first of equals. The mutex is held,
// and there is a try.
func (a *asking) foremost() *try {
	return slices.MaxFunc(a.tries, func(x, y *try) int { return x.come.Tokens - y.come.Tokens })
}

// say is what progress tells: of the try that has come farthest, or of the last to
// begin while nothing has come.
func (a *asking) say() string {
	a.mu.Lock()
	if len(a.tries) == 0 {
		a.mu.Unlock()
		return "looking for another host"
	}
	t := a.foremost()
	if t.come.Tokens == 0 {
		t = a.tries[len(a.tries)-1]
	}
	a.mu.Unlock()
	return t.progress.say()
}
