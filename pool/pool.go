// Package pool shares a set of hosts between the requests of many callers.
//
// Free slots of hosts are the consumers of a queue: each takes the request that fits it
// best, as late as possible, so that no request waits behind a slow host while another
// host is free. The pool promises that
//
//   - no host works on more requests at once than it has slots;
//   - the queue is bounded in requests and bytes, for each model and in all, and fair between
//     callers;
//   - a request that waits knows its place, can be cancelled at any time, and is refused as
//     soon as its deadline cannot be met;
//   - a model that a host has to load takes one slot until it is in memory;
//   - a request that failed because of its host is retried, on another host if it can be,
//     and hedged if that is wanted;
//   - a slot is given back whatever happens to the request.
//
// Package route says what a request needs. Sending it to the host is left to the function
// that With is given, and finding hosts to package fleet.
package pool

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"ollama-mcp/internal/affinity"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fairqueue"
	"ollama-mcp/internal/lru"
	"ollama-mcp/internal/retry"
	"ollama-mcp/internal/route"
)

// Options describe a pool. Zero fields take the defaults given with them.
type Options struct {
	// Hosts to begin with; more may be added, and none is needed.
	Hosts []backend.Backend
	// Slots is the number of calls that each of them is given at once; 0 means that the number
	// is learned.
	Slots int

	Queue      int   // calls for one model that may wait, and a quarter of all calls that may; 0 means 256
	QueueBytes int64 // size of all calls that wait; 0 means 256 MiB
	PerCaller  int   // the same for the calls of one caller; 0 means half of Queue
	// MaxInFlight bounds the calls on all hosts together; 0 means no bound.
	MaxInFlight int
	// MaxPassedOver is how long a call may be passed over in favor of calls whose model a host
	// has in memory; 0 means 10 s. While another host is loading its model, a call waits for
	// that, unless it takes longer than usual.
	MaxPassedOver time.Duration

	// Policy orders the hosts that are free; the zero Policy means the first of
	// route.Policies.
	Policy route.Policy
	// Runner holds runner options by canonical model, which override those of callers. If it
	// does not set num_ctx, a caller who wants a smaller context than a model is loaded with
	// gets the loaded one, or one caller could make the host reload the model for all.
	Runner map[string]map[string]any
	// InMemory says that hosts load no models, as is true of providers, so that no call waits
	// for another whose model is being loaded.
	InMemory bool
	// Retries is how often a call is retried after a failure that another attempt may avoid. One that
	// hosts only refuse for load is retried twice as often. 0 means 3, and a negative number means
	// never.
	Retries int

	// OnChange is told of each host, and of each model on a host, that is sent no more calls, or
	// calls again. It must not block. nil tells nobody.
	OnChange func(Change)

	Log *slog.Logger // nil means none
}

func (o Options) check() error {
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"Slots", int64(o.Slots)},
		{"Queue", int64(o.Queue)},
		{"QueueBytes", o.QueueBytes},
		{"PerCaller", int64(o.PerCaller)},
		{"MaxInFlight", int64(o.MaxInFlight)},
		{"MaxPassedOver", int64(o.MaxPassedOver)},
	} {
		if field.value < 0 {
			return fmt.Errorf("pool: %s must not be negative", field.name)
		}
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Queue == 0 {
		o.Queue = 256
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = 256 << 20
	}
	if o.PerCaller == 0 {
		o.PerCaller = max(1, o.Queue/2)
	}
	if o.MaxPassedOver == 0 {
		o.MaxPassedOver = 10 * time.Second
	}
	if o.Policy.Sort == nil {
		o.Policy = route.Policies()[0]
	}
	if o.Retries == 0 {
		// If one attempt in ten fails, one call in ten thousand does; with two retries it would
		// be one in a thousand.
		o.Retries = 3
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Pool shares hosts between requests. Use New to make one; it is safe for concurrent use.
type Pool struct {
	opts Options
	all  *semaphore.Weighted // one permit for each call on a host; nil without a bound

	// mu guards the fields below and those of the hosts. It is never held while waiting, or while
	// a host or a function of a caller is called.
	mu      sync.Mutex
	hosts   []*host // those that take new calls
	pinned  map[string]map[string]any
	queue   *fairqueue.Queue[groupKey, *Lease]
	changes int     // events, from 1, by which a host that is not well may be the best there is; see host.shunned
	last    *Lease  // the call that was given a slot last; nil before the first
	turn    int     // number of calls that were given a slot
	clock   float64 // the turn of the last of them; see host.turns
	models  lru.Map[string, *modelTimes]
	pace    pace // of all calls
	budget  *retry.Budget
	random  *rand.Rand
	totals  Totals
	rates   meters
	alarm   *time.Timer    // see setAlarm; nil until needed
	read    affinity.Table // which hosts have read which prompts
	scratch []route.Host   // of takeBest, as is free
	free    []*host
	offers  []offer  // see offersFor; none if they are not known
	offered groupKey // to which they are made

	divided bool          // pools of other processes use some of the hosts; see Divide
	short   chan struct{} // see Short

	survey survey
}

// New makes a pool. It starts nothing and contacts nobody.
func New(o Options) (*Pool, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	p := &Pool{
		opts: o, changes: 1, pinned: o.Runner, queue: fairqueue.New[groupKey, *Lease](o.MaxPassedOver), short: make(chan struct{}, 1),
		// Retries may be a fifth of the calls, plus one a second. Envoy allows a fifth plus three at
		// a time, Finagle a fifth plus ten a second. With three in ten seconds, chance alone would
		// exhaust the budget where one call in ten of eight callers fails.
		budget: retry.NewBudget(0.2, 10),
		random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}
	if o.MaxInFlight > 0 {
		p.all = semaphore.NewWeighted(int64(o.MaxInFlight))
	}
	for _, b := range o.Hosts {
		if _, err := p.Add(b, Slots{Given: o.Slots}); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Add adds a host to the pool, in place of a host of the same name if there is one. The channel is
// closed when the last call on the replaced host has ended.
func (p *Pool) Add(b backend.Backend, s Slots) (replaced <-chan struct{}, err error) {
	h, err := newHost(b, s)
	if err != nil {
		return nil, err
	}
	if h.inMemory = p.opts.InMemory || h.isAllCloud; !h.inMemory {
		h.origins = new(origins)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	replaced = p.remove(b.Name())
	p.setHosts(append(p.hosts, h))
	p.match()
	return replaced, nil
}

// setHosts replaces the hosts that take new calls.
func (p *Pool) setHosts(hosts []*host) {
	p.hosts = hosts
	p.changes++
	for i, h := range hosts {
		h.index = i
	}
	for _, times := range p.models.All() {
		times.on = nil
	}
}

// Resize changes the slots of a host, and its weight, and forgets nothing: calls on the host and in
// the queue stay where they are, and so does what is known of the host and its models. If the host has
// more calls than slots, it gets no more until enough have ended. A host that is not in the pool is
// ignored. The error names slots that no host can have.
func (p *Pool) Resize(name string, s Slots) error {
	if err := s.check(name); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.named(name); h != nil {
		h.resize(s)
		p.match()
	}
	return nil
}

// Remove removes a host from the pool, which gives it no more calls. The channel is closed when
// the last call on the host has ended.
func (p *Pool) Remove(name string) (drained <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	drained = p.remove(name)
	p.refuseUnservable()
	return drained
}

func (p *Pool) remove(name string) (drained <-chan struct{}) {
	h := p.named(name)
	if h == nil {
		gone := make(chan struct{})
		close(gone)
		return gone
	}
	p.setHosts(slices.DeleteFunc(p.hosts, func(other *host) bool { return other == h || other == h.part }))
	h.removed = true
	if h.part != nil {
		h.part.removed = true
	}
	h.drain()
	return h.drained
}

// Pin replaces the runner options that are pinned; see Options. They must not be modified
// afterwards.
func (p *Pool) Pin(runner map[string]map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pinned = runner
}

// Pinned are the runner options that are pinned for a model, given by its canonical name; nil
// for none. They must not be changed.
func (p *Pool) Pinned(model string) map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pinned[model]
}

// Hosts returns all hosts of the pool, for requests that need no slot.
func (p *Pool) Hosts() []backend.Backend {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]backend.Backend, 0, len(p.hosts))
	for _, h := range p.hosts {
		if !h.isCloudPart {
			all = append(all, h.backend)
		}
	}
	return all
}
