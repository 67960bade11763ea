package observe

import (
	"context"
	"sync"
	"time"

	"ollama-mcp/internal/inference"
)

// Later tells an observer of calls that are over, many at a time, and by a goroutine of its own. What
// the observer needs is in the processor's caches then, from which other work has driven it when calls
// come one by one, so that each takes much less time; and only calls with texts wait for it.
type Later struct {
	to         inference.Observer
	some, many chan struct{} // have a value if calls wait, and if they have become many

	mu    sync.Mutex         // guards calls, and is held only while they are added or taken
	calls []inference.Record // of which the observer has not been told

	telling sync.Mutex         // held while the observer is told
	spare   []inference.Record // the memory of the calls before; guarded by telling
}

const (
	laterBy   = 50 * time.Millisecond // how long calls wait for others
	laterMany = 64                    // calls that wait for no others
	laterMost = 1024                  // calls that wait; who makes them so many tells the observer itself
)

// NewLater is for one observer. It starts nothing.
func NewLater(to inference.Observer) *Later {
	return &Later{to: to, some: make(chan struct{}, 1), many: make(chan struct{}, 1)}
}

// Observer is what the engine tells of calls. It is a Watcher if the observer is, which is told of
// events at once.
func (l *Later) Observer() inference.Observer {
	return watching(watchersOf(l.to), l)
}

// Done implements inference.Observer. A call with texts does not wait, since they may be large.
func (l *Later) Done(r inference.Record) {
	l.mu.Lock()
	l.calls = append(l.calls, r)
	n := len(l.calls)
	l.mu.Unlock()
	switch {
	case n >= laterMost, r.Asked.Request != nil, r.Asked.Texts != nil:
		l.Flush()
	case n == laterMany:
		signal(l.many)
	case n == 1:
		signal(l.some)
	}
}

// Run tells the observer of calls until ctx ends, and then of all that are over by that time.
func (l *Later) Run(ctx context.Context) {
	defer l.Flush()
	gathered := time.NewTimer(0)
	defer gathered.Stop()
	for ctx.Err() == nil {
		select {
		case <-l.some:
		case <-ctx.Done():
		}
		gathered.Reset(laterBy)
		select {
		case <-gathered.C:
		case <-l.many:
		case <-ctx.Done():
		}
		l.Flush()
	}
}

// Flush tells the observer of all calls that are over now, before somebody asks what it knows.
func (l *Later) Flush() {
	l.telling.Lock()
	defer l.telling.Unlock()
	l.mu.Lock()
	calls := l.calls
	l.calls = l.spare[:0]
	l.mu.Unlock()
	for _, r := range calls {
		l.to.Done(r)
	}
	clear(calls) // what they point to
	l.spare = calls
}

// signal puts a value into a channel that has room for one, if there is none.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
