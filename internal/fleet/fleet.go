// Package fleet knows which hosts there are and what they have.
//
// It promises that a pool holds the hosts that were asked for, whether they are
// named one by one or stand behind a name in DNS; that a host which goes is
// closed when the last call on it has ended; and that the pool hears how each
// host is and what it has installed and loaded, without one host's silence
// delaying news of another. Lending hosts out, and judging them by how calls
// fare, is left to package pool; talking to them to the kinds of backend.
package fleet

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
)

// Pool is what a fleet drives. No method may wait or call the fleet.
type Pool interface {
	// Add lends a host out from now on. slots is how many requests it is given at
	// once; 0 leaves that to the pool. weight is what part of the calls it gets beside
	// others; 0 means 1. A host of the same name makes room for it, with
	// no moment in between at which there is neither; replaced is closed when the
	// last call on that one has ended.
	Add(host backend.Backend, slots int, weight float64) (replaced <-chan struct{})
	// Remove takes a host away. drained is closed when the last call on it has ended.
	Remove(name string) (drained <-chan struct{})
	// Know tells what was found when a host was asked how it is.
	Know(name string, facts Facts)
}

// Facts are what was found when a host was asked. Nobody may change what they
// point to.
type Facts struct {
	Up  bool  // it answered
	Err error // why it did not; if it is up, why it did not tell all that it was asked

	Version   string   // of its server; "" if it is not up
	Installed []string // models, as backend.CanonicalModel spells them; nil if it was not asked or did not tell
	Loaded    []Loaded // models in memory, or on their way there; nil if it did not tell
}

// Loaded is a model that a host has in memory.
type Loaded struct {
	Model   string    // as backend.CanonicalModel spells it
	NumCtx  int       // tokens of context it was loaded with; 0 if the host did not say
	VRAM    float64   // share of it that is in the memory of GPUs, from 0 to 1
	Expires time.Time // when the host lets go of it, unless it is used
}

// Host is a host that can be closed, as package ollama makes them.
type Host interface {
	backend.Backend
	Close() // is called once, when no call is left
}

// Options describe a fleet. Pool and Open are needed.
type Options struct {
	Pool Pool

	// Open makes a host of a spec, whose name the host must have. It does not
	// connect. If dial is valid, connections go to that address, whatever the URL's
	// name stands for; Host header and TLS still go by the name.
	Open func(s Spec, dial netip.Addr) (Host, error)

	// Resolve finds the addresses behind a name; nil: the system's resolver.
	Resolve func(ctx context.Context, name string) ([]netip.Addr, error)
	// LookupEvery is the time between two lookups of a name; 0: 30 s.
	LookupEvery time.Duration

	// IdleAfter is how long after the last Touch hosts are left in peace; 0: they
	// never are.
	IdleAfter time.Duration

	Log *slog.Logger // nil: nothing is logged
}

// Fleet is the hosts that there are. Use New to make one.
type Fleet struct {
	opts Options
	use  use

	// mu guards what follows. The pool is told of changes under it, so that it
	// hears of them in order; hosts and resolvers are never asked under it.
	mu      sync.Mutex
	groups  map[string]*group // by the name of their spec
	tasks   map[task]bool     // what Watch runs, and whether it has been through once
	changed chan struct{}     // closed at the next change of tasks
}

// New returns a fleet without hosts. It starts nothing.
func New(o Options) (*Fleet, error) {
	switch {
	case o.Pool == nil || o.Open == nil:
		return nil, errors.New("a fleet needs Pool and Open")
	case o.LookupEvery < 0 || o.IdleAfter < 0:
		return nil, errors.New("LookupEvery and IdleAfter of a fleet cannot be negative")
	}
	o.LookupEvery = cmp.Or(o.LookupEvery, 30*time.Second)
	if o.Resolve == nil {
		o.Resolve = func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Fleet{
		opts: o, use: use{idleAfter: o.IdleAfter},
		groups: map[string]*group{}, tasks: map[task]bool{}, changed: make(chan struct{}),
	}, nil
}

// Touch says that there is a call. A fleet with IdleAfter asks its hosts nothing
// before the first: a laptop on which nobody calls a model is not woken every
// few seconds for news that nobody reads. It may be called from any goroutine
// and costs next to nothing.
func (f *Fleet) Touch() { f.use.touch() }

// Ready returns when each name has been looked up and each host asked once, well
// or badly, or with the error of ctx. It counts as a Touch.
func (f *Fleet) Ready(ctx context.Context) error {
	f.Touch()
	for {
		ready, changed := f.ready()
		if ready {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *Fleet) ready() (ready bool, changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, done := range f.tasks {
		if !done {
			return false, f.changed
		}
	}
	return true, nil
}

// Close closes all hosts. It is for the end, when Watch has returned and no calls
// are left; the fleet cannot be used again.
func (f *Fleet) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for t := range f.tasks {
		t.close()
	}
	clear(f.tasks)
	clear(f.groups)
}
