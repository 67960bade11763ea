package tools

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/progress"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// asking is how far the asking of a question has come. All whose calls wait for the
// answer look on.
type asking struct {
	progress *progress.Reporter // is looked at, and reports to nobody itself

	mu      sync.Mutex // guards what follows; nothing is asked under it
	rung    int        // that is asked, from 1; 0 before the first
	passed  []string   // the rungs before, and why they did not answer
	waits   bool       // for a slot
	due     time.Time  // when the wait should be over; the zero Time if not known
	failure error      // of the last try that has failed; nil if none has
	tries   []*try     // under way, two at most
}

// try is a host's work on a question, and how far it has come.
type try struct {
	work
	asking   *asking
	began    time.Time
	known    outcome            // all that is known of what will come of it but the answer
	progress *progress.Reporter // of this try alone; reports to nobody
	come     backend.Answer     // the pieces that have come, Tokens counting them; guarded by the asking's mutex
}

// work is that of a host on a question.
type work struct {
	host backend.Backend
	rung route.Rung
	m    manner
}

func newAsking() *asking { return &asking{progress: progress.New(nil)} }

// climbs: a rung is asked from now on, and what there was of another is forgotten.
func (a *asking) climbs(rung int, missed []miss) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rung, a.passed, a.tries = rung+1, passed(missed), nil
}

// queued: the question waits for a slot.
func (a *asking) queued(standing func() route.Standing) {
	a.progress.Queued(standing)
	expect := standing().Expect
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waits, a.due = true, time.Time{}
	if expect > 0 {
		a.due = time.Now().Add(expect)
	}
}

// begins: a host works on the question from now on, a hedge beside the one that does
// so already. Progress tells what the host is doing until the first piece comes.
func (a *asking) begins(w work, known outcome, doing string, hedge bool) *try {
	t := &try{work: w, asking: a, began: time.Now(), known: known, progress: progress.New(nil)}
	a.mu.Lock()
	a.waits = false
	if hedge && len(a.tries) > 0 {
		doing = fmt.Sprintf("asking %s too, since %s is late", w.host.Name(), a.tries[0].host.Name())
	}
	a.tries = append(a.tries, t)
	a.mu.Unlock()
	t.progress.Working(doing)
	a.progress.Set(a.say)
	return t
}

// failed: the host does not work on it any more. What it was doing when the time for
// all of it was over is left to be seen.
func (t *try) failed(ctx context.Context, why error) {
	a := t.asking
	a.mu.Lock()
	defer a.mu.Unlock()
	if ctx.Err() == nil {
		a.failure = why
		a.tries = slices.DeleteFunc(a.tries, func(other *try) bool { return other == t })
	}
}

// answering takes in the pieces of an answer as they come. onFirst is called before
// the first.
func (t *try) answering(onFirst func()) func(backend.Piece) {
	count := t.progress.Answering()
	var text, thinking strings.Builder
	return func(piece backend.Piece) {
		count(piece)
		text.WriteString(piece.Text)
		thinking.WriteString(piece.Thinking)
		t.asking.mu.Lock()
		t.come.Text, t.come.Thinking = text.String(), thinking.String()
		t.come.Tokens++
		first := t.come.Tokens == 1
		if first {
			t.come.FirstPiece = time.Since(t.began)
		}
		t.asking.mu.Unlock()
		if first {
			onFirst()
		}
	}
}

// partial is the outcome as far as it has come, and the work on it: the zero work while
// no host is at work.
func (a *asking) partial() (*outcome, work) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.tries) == 0 {
		return &outcome{answer: new(backend.Answer)}, work{}
	}
	t := a.foremost()
	got, come := t.known, t.come
	if come.Tokens > 0 {
		come.Eval = time.Since(t.began) - come.FirstPiece
	}
	got.answer = &come
	got.served.Rung, got.served.Passed = a.rung, a.passed
	return &got, t.work
}

// held is what keeps a question from a host, or has done last: the wait for a slot, or
// the failure of a host; nil if nothing has.
func (a *asking) held() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.waits {
		return a.failure
	}
	if a.due.IsZero() {
		return new(pool.QueueTimeoutError)
	}
	return &pool.QueueTimeoutError{RetryAfter: max(time.Until(a.due), time.Second)}
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
	return t.progress.Message()
}
