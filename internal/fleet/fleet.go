// Package fleet knows which hosts there are and what they have.
//
// It promises that a pool holds exactly the configured hosts, whether they are named
// one by one or stand behind a name in DNS; that a host which is removed is closed when
// its last call has ended; that the pool is told how each host is and which models it has
// installed and loaded, without one slow host delaying news of another; and that a model
// pulled a moment ago is found when a call asks for it. Lending hosts out, and judging
// them by how calls fare, is left to package pool; speaking to them to the packages under
// backend.
package fleet

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/internal/backend"
)

// Pool is what a fleet keeps informed. No method may block or call the fleet.
type Pool interface {
	// Add lends a host out from now on. slots is how many requests it gets at once; 0
	// leaves that to the pool. weight is its share of the calls relative to other hosts; 0
	// means 1. The host replaces one of the same name without a moment
	// in which there is neither; replaced is closed when the last call on the old one has
	// ended.
	Add(host backend.Backend, slots int, weight float64) (replaced <-chan struct{})
	// Resize gives a host that was added another number of slots, and another weight, both as in Add.
	// Calls on the host go on, and nothing that is known of it is forgotten.
	Resize(host backend.Backend, slots int, weight float64)
	// Remove takes a host away. drained is closed when the last call on it has ended.
	Remove(name string) (drained <-chan struct{})
	// Know passes on what a host said when it was asked how it is. The news of one host
	// arrive one at a time and in order.
	Know(name string, facts Facts)
}

// Facts is what a host said when it was asked how it is. Slices in it must not be changed.
type Facts struct {
	Up  bool  // the host answered
	Err error // why it did not answer; if it is up, why some of the answers are missing

	Version   string   // of its server; "" if it is not up, or was not asked
	Installed []string // models by canonical name; nil if the host was not asked or did not say
	Cloud     []string // those of Installed that the host passes on to Ollama's cloud
	Replaced  []string // those of Installed that are other models than the last list had by their names
	Loaded    []Loaded // models in memory, or being loaded; nil if the host was not asked or did not say
}

// Loaded is a model that a host has in memory.
type Loaded struct {
	Model   string    // canonical name
	NumCtx  int       // context length in tokens that it was loaded with; 0 if the host did not say
	VRAM    float64   // part of it that is in GPU memory, from 0 to 1
	Expires time.Time // when the host unloads it unless it is used
}

// Host is a host that can be closed, as package ollama makes them.
type Host interface {
	backend.Backend
	Close() // is called once, when no call is left
}

// Options describe a fleet. Pool and Open are needed.
type Options struct {
	Pool Pool

	// Open makes the host that a spec describes, under the spec's name, without
	// connecting to it. If dial is valid, connections go to that address instead of the
	// addresses of the name in the URL; the Host header and TLS still use the name.
	Open func(s Spec, dial netip.Addr) (Host, error)

	// Resolve finds the addresses behind a name; nil means the system's resolver.
	Resolve func(ctx context.Context, name string) ([]netip.Addr, error)
	// LookupEvery is the time between two lookups of a name; 0 means 30 s.
	LookupEvery time.Duration

	// IdleAfter is how long after the last Touch the fleet stops polling its hosts; 0
	// means that it never stops.
	IdleAfter time.Duration

	Log *slog.Logger // nil means that nothing is logged
}

// Fleet is a set of hosts that changes over time. Use New to make one. All methods but
// Watch and Close may be called from any goroutine.
type Fleet struct {
	opts  Options
	use   use
	began time.Time // the polls are on a beat from then on

	// catalog is read on every call, and so without a lock.
	catalog atomic.Pointer[catalog]

	// mu guards what follows. Hosts are added to the pool and removed from it while mu is
	// held, so that the pool learns of changes in their order. Nobody waits for a host, a
	// resolver or a log while holding it.
	mu      sync.Mutex
	groups  map[string]*group // by the name of their spec
	tasks   map[task]bool     // what Watch runs, and whether it has finished its first round
	changed chan struct{}     // closed at the next change of tasks, or when a look ends

	// looks are the requests for lists of models that Find has begun; they end with life.
	looks sync.WaitGroup
	life  context.Context
	end   context.CancelFunc
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
	f := &Fleet{
		opts: o, use: use{idleAfter: o.IdleAfter}, began: time.Now(),
		groups: map[string]*group{}, tasks: map[task]bool{}, changed: make(chan struct{}),
	}
	f.catalog.Store(new(catalog))
	f.life, f.end = context.WithCancel(context.Background())
	return f, nil
}

// Touch says that there is a call. A fleet with IdleAfter polls its hosts only while there
// are calls: a laptop on which nobody calls a model should not be woken every few seconds
// for news that nobody reads. Touch is cheap.
func (f *Fleet) Touch() { f.use.touch() }

// Ready returns when each name has been looked up once and each host polled once, with or
// without success, or with the error of ctx when that ends first. It counts as a Touch.
func (f *Fleet) Ready(ctx context.Context) error {
	f.Touch()
	return f.await(ctx, func() bool {
		for _, done := range f.tasks {
			if !done {
				return false
			}
		}
		return true
	})
}

// await returns when condition holds, or with the error of ctx when that ends first. The
// condition is evaluated with mu held, now and after each change.
func (f *Fleet) await(ctx context.Context, condition func() bool) error {
	for {
		f.mu.Lock()
		holds, changed := condition(), f.changed
		f.mu.Unlock()
		if holds {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close closes all hosts. Call it at the end, when Watch has returned and no calls are
// left; the fleet cannot be used afterwards.
func (f *Fleet) Close() {
	f.mu.Lock()
	f.end() // from now on no look begins
	f.mu.Unlock()
	f.looks.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for t := range f.tasks {
		t.close()
	}
	clear(f.tasks)
	clear(f.groups)
}
