package inference

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/lru"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// maxLadders bounds how many ladders are remembered. Callers may name what they like.
const maxLadders = 1000

// ladders remember how the ladder of each model fares.
type ladders struct {
	mu  sync.Mutex // guards all; no ladder's own mutex is taken before it
	all lru.Map[string, *ladder]
}

// ladder is what is remembered of a model's ladder. A nil one is that of a single rung,
// which is always tried.
type ladder struct {
	name  string
	first route.Rung

	mu     sync.Mutex // guards what follows; nothing is told under it
	health route.Health
	least  map[route.Rung]time.Duration // that each has ever taken to answer
}

// of is the ladder of a model. If its first rung is not the one of before, the
// configuration has changed, and what is remembered is of no use.
func (l *ladders) of(model string, rungs []route.Rung) *ladder {
	if len(rungs) == 1 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	name := backend.CanonicalModel(model)
	if one, ok := l.all.Get(name); ok && one.first == rungs[0] {
		return one
	}
	one := &ladder{name: name, first: rungs[0], least: make(map[route.Rung]time.Duration)}
	l.all.Set(name, one, maxLadders)
	return one
}

// LadderStatus is the state of a model's ladder.
type LadderStatus struct {
	Model  string
	State  route.State
	Since  time.Time
	Reason string
}

// status are the ladders in trouble, of the models that a caller may use, by name.
func (l *ladders) status(who caller.Caller) (all []LadderStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := maps.Collect(l.all.All())
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if state, since, reason := known[name].state(); state != route.Normal && who.MayUse(name) {
			all = append(all, LadderStatus{strings.TrimSuffix(name, ":latest"), state, since, reason})
		}
	}
	return all
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

// record takes in the outcome of an attempt on the first rung. It returns nil if that
// has not changed the state.
func (l *ladder) record(ctx context.Context, err error) *Event {
	outcome, reason := route.Answered, "it answers again"
	if err != nil {
		if ctx.Err() != nil && !errors.Is(err, errTooLate) || isOfRequest(err) {
			return nil // it says nothing about the rung
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
	return &Event{Kind: LadderChanged, Model: l.name, From: from, To: to, Reason: reason}
}

// isOfRequest reports whether the prompt or the options of a request may be to blame for
// what a rung has refused. What one caller asks for does not count against the rung.
func isOfRequest(err error) bool {
	switch fault.Of(err).Code {
	case fault.InvalidArgument, fault.ContextTooLong, fault.Forbidden, fault.Cancelled:
		return true
	}
	_, thought := errors.AsType[*thoughtTooLong](err)
	return thought || errors.Is(err, backend.NoRoom) || errors.Is(err, backend.TooLarge)
}

func isBusy(err error) bool {
	_, full := errors.AsType[*pool.FullError](err)
	return full || errors.Is(err, pool.ErrQueueTimeout) || errors.Is(err, backend.Overload) || errors.Is(err, errTooLate)
}

// took notes how long a rung has taken to answer.
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

// tell says that a ladder has changed its state; nil that it has not. No lock is held.
func (e *Engine) tell(change *Event) {
	if change == nil {
		return
	}
	e.opts.Log.Warn("a model's ladder has changed its state", "model", change.Model, "from", change.From, "state", change.To, "reason", change.Reason)
	if e.watcher != nil {
		e.watcher.Event(*change)
	}
}
