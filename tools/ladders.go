package tools

import (
	"context"
	"errors"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// ladders remember how the ladder of each model fares.
type ladders struct {
	mu  sync.Mutex // guards all; no ladder's own mutex is taken before it
	all map[string]*ladder
}

// mostLadders bounds how many ladders are remembered.
const mostLadders = 1000

// ladder is what is remembered of a model's ladder. A nil one is that of a single rung,
// of which there is nothing to remember: it is always asked.
type ladder struct {
	name  string
	first route.Rung

	mu     sync.Mutex // guards what follows; nothing is told under it
	health route.Health
	least  map[route.Rung]time.Duration // that each has ever taken to answer
}

// of is the ladder of a model. Where its first rung is another than before, the
// configuration has changed, and what is remembered is of no use.
func (l *ladders) of(model string, rungs []route.Rung) *ladder {
	if len(rungs) == 1 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	name := backend.CanonicalModel(model)
	if one := l.all[name]; one != nil && one.first == rungs[0] {
		return one
	}
	if l.all == nil || len(l.all) >= mostLadders {
		l.all = make(map[string]*ladder) // callers may name what they like
	}
	one := &ladder{name: name, first: rungs[0], least: make(map[route.Rung]time.Duration)}
	l.all[name] = one
	return one
}

func (l *ladder) state() (route.State, time.Time, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.health.State()
}

func (l *ladder) tryFirst() bool {
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.health.TryFirst(time.Now())
}

// record takes in what came of asking the first rung. It returns nil if that has not
// changed the state.
func (l *ladder) record(ctx context.Context, err error) *ladderChange {
	if l == nil {
		return nil
	}
	outcome, reason := route.Answered, "it answers again"
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, errTooLate) || !curable(err) || isOfRequest(err) {
			return nil // says nothing about the rung
		}
		outcome, reason = route.Failed, err.Error()
		if isBusy(err) {
			outcome = route.Busy
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	from, _, _ := l.health.State()
	if !l.health.Record(time.Now(), outcome, reason) {
		return nil
	}
	to, _, reason := l.health.State()
	return &ladderChange{l.name, from, to, reason}
}

// isOfRequest reports whether the prompt or the options of a request may be to blame for
// what another rung could cure. One caller's are no reason to leave a rung alone.
func isOfRequest(err error) bool {
	return errors.Is(err, backend.TooLong) || errors.Is(err, backend.NoRoom)
}

func isBusy(err error) bool {
	_, full := errors.AsType[*pool.FullError](err)
	return full || errors.Is(err, pool.ErrQueueTimeout) || errors.Is(err, backend.Overload) || errors.Is(err, errTooLate)
}

// took takes in how long a rung has taken to answer.
func (l *ladder) took(rung route.Rung, d time.Duration) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if least, known := l.least[rung]; !known || d < least {
		l.least[rung] = d
	}
}

// needs is the least time that a rung has ever taken to answer; 0 if nothing is known.
func (l *ladder) needs(rung route.Rung) time.Duration {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.least[rung]
}

// ladderChange is a change of a ladder's state.
type ladderChange struct {
	model    string
	from, to route.State
	reason   string
}

// tell says that a ladder has changed its state, to whoever runs the server. No lock
// is held.
func (d Deps) tell(change *ladderChange) {
	if change == nil {
		return
	}
	d.Log.Warn("a model's ladder has changed its state", "model", change.model, "from", change.from, "state", change.to, "reason", change.reason)
	if d.OnLadder != nil {
		d.OnLadder(change.model, change.from, change.to, change.reason)
	}
}
