// Package pool lends out hosts.
//
// It promises that no host is asked for more than its slots at once, that only
// so many requests wait, that a request which has to wait can leave at any time
// and knows its place, and that a slot is given back whatever happens to the
// one who had it. What a request needs is said by package route; asking the
// host is left to the borrower.
package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
)

// Options describe a pool. Zero fields take the defaults given with them.
type Options struct {
	// Hosts to lend out; exactly one for now.
	Hosts []backend.Backend
	// Slots is how many requests a host is given at once; 0 means 4, at which
	// a host that serves one request at a time still never idles.
	Slots int
	// Queue is how many requests may wait for a slot; 0 means 256.
	Queue int
	// QueueBytes bounds the size of all waiting requests; 0 means 256 MiB.
	QueueBytes int64
}

// ErrQueueTimeout means that a request's time was over before a slot came free.
var ErrQueueTimeout = errors.New("no slot came free in time")

// FullError refuses a request at once, because too many are waiting.
type FullError struct {
	Waiting    int           // requests that wait already
	RetryAfter time.Duration // when a place should be free, by the pace of late; never 0
}

func (e *FullError) Error() string {
	return fmt.Sprintf("the queue is full (%d waiting)", e.Waiting)
}

// Pool lends out hosts. Use New to make one.
type Pool struct {
	host  backend.Backend
	slots *semaphore.Weighted
	opts  Options

	// mu guards what follows, and is never held while waiting for a slot.
	mu      sync.Mutex
	waiting []*ticket // longest wait first
	bytes   int64     // of all that is waiting
	pace    pace
}

// ticket is a request's place in the queue.
type ticket struct{ bytes int64 }

// New makes a pool. It starts nothing and contacts nobody.
func New(o Options) (*Pool, error) {
	if len(o.Hosts) != 1 {
		return nil, fmt.Errorf("pool: Hosts: want exactly one, got %d", len(o.Hosts))
	}
	if o.Slots < 0 || o.Queue < 0 || o.QueueBytes < 0 {
		return nil, errors.New("pool: Slots, Queue and QueueBytes must not be negative")
	}
	if o.Slots == 0 {
		o.Slots = 4
	}
	if o.Queue == 0 {
		o.Queue = 256
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = 256 << 20
	}
	return &Pool{host: o.Hosts[0], slots: semaphore.NewWeighted(int64(o.Slots)), opts: o}, nil
}

// With waits for a slot, lends the host to use, and takes it back when use
// returns. It returns what use returns; *FullError if too many wait already;
// ErrQueueTimeout if ctx's deadline passed during the wait; ctx's error if it
// was cancelled. In none of these cases has use been called.
func (p *Pool) With(ctx context.Context, need route.Need, use func(context.Context, backend.Backend) error) error {
	if err := p.acquire(ctx, need); err != nil {
		return err
	}
	began := time.Now()
	defer p.slots.Release(1)

	err := use(ctx, p.host)
	if err == nil {
		p.mu.Lock()
		p.pace.observe(time.Since(began))
		p.mu.Unlock()
	}
	return err
}

// Hosts are all hosts of the pool, for questions that need no slot.
func (p *Pool) Hosts() []backend.Backend { return p.opts.Hosts }

func (p *Pool) acquire(ctx context.Context, need route.Need) error {
	if ctx.Err() != nil {
		return gaveUp(ctx)
	}
	if p.slots.TryAcquire(1) { // never past somebody who waits
		return nil
	}
	t, err := p.join(need.Bytes)
	if err != nil {
		return err
	}
	defer p.leave(t)
	if need.OnWait != nil {
		need.OnWait(func() route.Standing { return p.standing(t) })
	}
	if err := p.slots.Acquire(ctx, 1); err != nil {
		return gaveUp(ctx)
	}
	if ctx.Err() != nil { // the slot and the end came together
		p.slots.Release(1)
		return gaveUp(ctx)
	}
	return nil
}

// join queues a request, or refuses it.
func (p *Pool) join(bytes int64) (*ticket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) >= p.opts.Queue || p.bytes+bytes > p.opts.QueueBytes {
		return nil, &FullError{
			Waiting:    len(p.waiting),
			RetryAfter: max(p.pace.expect(1, p.opts.Slots), time.Second),
		}
	}
	t := &ticket{bytes: bytes}
	p.waiting = append(p.waiting, t)
	p.bytes += bytes
	return t, nil
}

func (p *Pool) leave(t *ticket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.place(t) - 1
	p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
	p.bytes -= t.bytes
}

func (p *Pool) standing(t *ticket) route.Standing {
	p.mu.Lock()
	defer p.mu.Unlock()
	place := p.place(t)
	return route.Standing{Place: place, Of: len(p.waiting), Expect: p.pace.expect(place, p.opts.Slots)}
}

// place is 1 for the next in turn, and 0 for one who waits no more.
func (p *Pool) place(t *ticket) int {
	for i, other := range p.waiting {
		if other == t {
			return i + 1
		}
	}
	return 0
}

func gaveUp(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrQueueTimeout
	}
	return ctx.Err()
}

// pace is how long requests have held a slot of late.
type pace struct{ mean time.Duration }

// observe takes one more holding time in: a moving mean that forgets by a fifth.
func (p *pace) observe(held time.Duration) {
	if p.mean == 0 {
		p.mean = held
		return
	}
	p.mean += (held - p.mean) / 5
}

// expect is how long the place-th in the queue has to wait; 0 if nothing is known.
func (p *pace) expect(place, slots int) time.Duration {
	return p.mean * time.Duration(place) / time.Duration(slots)
}
