package inference

import (
	"context"
	"slices"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// tracker is how far an answer has come. All calls that wait for it look at it. The zero
// tracker is that of an answer that nothing has been done for.
type tracker struct {
	fill uint64 // whose answer it is; 0 if nobody is told of it

	mu       sync.Mutex // guards what follows; nothing else is called under it
	rung     int        // that is tried, from 1; 0 before the first
	passed   []string   // the rungs before, and why they did not answer
	phase    Progress   // what happens while no host is at work
	standing func() route.Standing
	waits    bool       // for a slot
	due      time.Time  // when the wait should be over; the zero Time if not known
	failure  error      // of the last attempt that failed; nil if none has
	attempts []*attempt // under way, two at most

	watchers []chan<- struct{} // are told of changes; one for each call that streams the answer
	chosen   *attempt          // the one that is streamed, beside which there is no other; nil for none
}

// watch has a channel told of changes, of which one may stand for several, until unwatch is called.
func (tr *tracker) watch(changed chan<- struct{}) (unwatch func()) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.watchers = append(tr.watchers, changed)
	tr.choose()
	tr.notify()
	return func() {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		tr.watchers = slices.DeleteFunc(tr.watchers, func(other chan<- struct{}) bool { return other == changed })
	}
}

// notify tells the watchers of a change. The mutex is held.
func (tr *tracker) notify() {
	for _, changed := range tr.watchers {
		select {
		case changed <- struct{}{}:
		default: // it has not seen the last one yet
		}
	}
}

// choose settles on the attempt that is streamed, once there is something to stream, and ends the
// other one: what has been sent cannot be replaced by an answer that ends earlier. The mutex is
// held.
func (tr *tracker) choose() {
	if len(tr.watchers) == 0 || tr.chosen != nil || len(tr.attempts) == 0 {
		return
	}
	first := tr.foremost()
	if first.pieces == 0 {
		return
	}
	tr.chosen = first
	for _, other := range tr.attempts {
		if other != first && other.stop != nil {
			other.stop(errOvertaken)
		}
	}
}

// streamed is the attempt that is streamed, and what has arrived of its answer. attempt is nil if
// there is nothing to stream yet; failure is why the last attempt failed.
func (tr *tracker) streamed() (v streamed) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if a := tr.chosen; a != nil && !a.again {
		v = tr.arrived(a)
	}
	v.failure = tr.failure
	return v
}

// ofAttempt is what has arrived of the answer of an attempt, which may be over.
func (tr *tracker) ofAttempt(a *attempt) streamed {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.arrived(a)
}

// arrived does the work of ofAttempt. The mutex is held.
func (tr *tracker) arrived(a *attempt) streamed {
	v := streamed{attempt: a, text: a.text, thinking: a.thinking, served: a.known.served}
	v.served.Rung, v.served.Passed = tr.rung, tr.passed
	return v
}

// climbs notes that a rung is tried from now on, and forgets what there was of another.
func (tr *tracker) climbs(rung int, passed []string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.rung, tr.passed, tr.attempts, tr.chosen = rung+1, passed, nil, nil
	tr.notify()
}

// climbed is the rung that is tried, from 1, and the rungs before.
func (tr *tracker) climbed() (rung int, passed []string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.rung, tr.passed
}

// queued notes that the request waits for a slot, and how the wait stands now and later.
func (tr *tracker) queued(now route.Standing, standing func() route.Standing) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.phase, tr.standing = Progress{State: Waiting}, standing
	tr.waits, tr.due = true, time.Time{}
	if now.Expect > 0 {
		tr.due = time.Now().Add(now.Expect)
	}
}

// retrying notes that a host has failed and another attempt follows.
func (tr *tracker) retrying(r route.Retry) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.phase, tr.standing = Progress{State: Retrying, Host: r.Host, Since: time.Now(), until: time.Now().Add(r.In)}, nil
}

// is notes what happens while no attempt is under way.
func (tr *tracker) is(p Progress) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.phase, tr.standing = p, nil
}

// attempt is a host's work on a request, and how far it has come.
type attempt struct {
	tracker *tracker
	lease   *pool.Lease
	host    backend.Backend
	rung    route.Rung
	others  int // rungs behind it
	params  attemptParams
	began   time.Time
	known   result                  // all that is known of its result but the answer
	stop    context.CancelCauseFunc // ends it; nil if there will be no other beside it

	// What follows is guarded by the tracker's mutex.
	phase          Progress
	text, thinking string // that have arrived
	pieces         int
	firstPiece     time.Duration // from began; 0 before it
	again          bool          // the next piece is the first of a second answer
}

// begins notes that a host is at work on the request, beside another if it is a hedge.
func (tr *tracker) begins(a *attempt, phase Progress, hedge bool) {
	a.tracker, a.began, a.phase = tr, time.Now(), phase
	a.phase.Since = a.began
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.waits = false
	if hedge && len(tr.attempts) > 0 {
		a.phase.State, a.phase.Late = Hedging, tr.attempts[0].host.Name()
	}
	tr.attempts = append(tr.attempts, a)
}

// replaces notes that the attempt, which has begun, is another one after an answer that was of
// no use.
func (a *attempt) replaces(first *backend.Answer) {
	tr := a.tracker
	tr.mu.Lock()
	tr.attempts, tr.chosen = []*attempt{a}, nil
	a.text, a.thinking, a.pieces, a.firstPiece = first.Text, first.Thinking, first.Tokens, first.FirstPiece
	tr.mu.Unlock()
	a.asksAgain()
}

// asksAgain notes that the host is asked once more, since its answer was of no use. The
// first piece of the second answer replaces what there is of the first.
func (a *attempt) asksAgain() {
	a.tracker.mu.Lock()
	defer a.tracker.mu.Unlock()
	a.phase = Progress{State: AskingAgain, Host: a.host.Name(), Since: time.Now()}
	a.again = true
}

// add takes in a piece of the answer, and returns how many have arrived.
func (a *attempt) add(piece backend.Piece) int {
	a.tracker.mu.Lock()
	defer a.tracker.mu.Unlock()
	if a.again {
		a.again, a.pieces = false, 0
	}
	a.text, a.thinking = piece.TextSoFar, piece.ThinkingSoFar // shared with the backend, not copied
	if a.pieces++; a.pieces == 1 {
		a.firstPiece = time.Since(a.began)
		a.phase = Progress{State: Answering, Host: a.phase.Host, Model: a.phase.Model, Since: time.Now()}
	}
	a.phase.Tokens, a.phase.Thinking = a.pieces, piece.Text == "" && piece.Thinking != ""
	a.tracker.choose()
	a.tracker.notify()
	return a.pieces
}

// failed notes that the host is not at work any more. over says that the time for all of
// it was over: then what the host was doing stays to be seen.
func (a *attempt) failed(over bool, why error) {
	tr := a.tracker
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if !over {
		tr.failure = why
		tr.attempts = slices.DeleteFunc(tr.attempts, func(other *attempt) bool { return other == a })
		tr.phase, tr.standing = Progress{State: Rerouting}, nil
		if tr.chosen == a {
			tr.chosen = nil
		}
		tr.notify()
	}
}

// partial is the result as far as it has come, and the attempt that it comes from: nil
// while no host is at work.
func (tr *tracker) partial() (*result, *attempt) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.attempts) == 0 {
		return &result{answer: new(backend.Answer)}, nil
	}
	a := tr.foremost()
	got := a.known
	got.answer = &backend.Answer{Text: a.text, Thinking: a.thinking, Tokens: a.pieces, FirstPiece: a.firstPiece}
	if a.pieces > 0 {
		got.answer.Eval = time.Since(a.began) - a.firstPiece
	}
	got.served.Rung, got.served.Passed = tr.rung, tr.passed
	return &got, a
}

// blockedBy is the reason why no host is at work on the request: it is still queued, or
// the last attempt failed; nil if neither.
func (tr *tracker) blockedBy() error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	switch {
	case !tr.waits:
		return tr.failure
	case tr.due.IsZero():
		return new(pool.QueueTimeoutError)
	}
	return &pool.QueueTimeoutError{RetryAfter: max(time.Until(tr.due), time.Second)}
}

// foremost is the attempt that is streamed, or else has come farthest; the first of equals. The
// mutex is held, and there is an attempt.
func (tr *tracker) foremost() *attempt {
	if tr.chosen != nil {
		return tr.chosen
	}
	return slices.MaxFunc(tr.attempts, func(x, y *attempt) int { return x.pieces - y.pieces })
}

// progress is that of the attempt that has come farthest, or of the last to begin while
// nothing has arrived.
func (tr *tracker) progress() Progress {
	tr.mu.Lock()
	p, standing := tr.phase, tr.standing
	if len(tr.attempts) > 0 && !tr.waits {
		a := tr.foremost()
		if a.pieces == 0 {
			a = tr.attempts[len(tr.attempts)-1]
		}
		p, standing = a.phase, nil
	}
	tr.mu.Unlock()
	if standing != nil { // the queue takes a lock of its own
		p.Standing = standing()
	}
	return p
}
