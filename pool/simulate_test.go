package pool_test

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// lender is the pool, or what it is compared with.
type lender interface {
	With(context.Context, route.Need, func(context.Context, *pool.Lease) error) error
}

// newLender is a pool for some hosts, or a naive one of as many slots.
func newLender(t *testing.T, naively bool, o pool.Options, hosts ...*machine) lender {
	t.Helper()
	all, backends := machines(hosts...)
	if naively {
		return newNaive(all, o.Slots)
	}
	o.Hosts = backends
	return newPool(t, o)
}

// naive is first come, first served: a call goes to the next host in turn, and
// waits there.
type naive struct {
	hosts []*machine
	slots []*semaphore.Weighted
	mu    sync.Mutex
	next  int
}

func newNaive(hosts []*machine, slots int) *naive {
	n := &naive{hosts: hosts}
	for range hosts {
		n.slots = append(n.slots, semaphore.NewWeighted(int64(slots)))
	}
	return n
}

func (n *naive) With(ctx context.Context, _ route.Need, use func(context.Context, *pool.Lease) error) error {
	n.mu.Lock()
	i := n.next % len(n.hosts)
	n.next++
	n.mu.Unlock()
	if err := n.slots[i].Acquire(ctx, 1); err != nil {
		return err
	}
	defer n.slots[i].Release(1)
	return use(ctx, &pool.Lease{Host: n.hosts[i], Attempt: 1})
}

// arrival is a call of a simulation.
type arrival struct {
	after    time.Duration // the one before
	need     route.Need
	tokens   int
	patience time.Duration // 0 means without end
	mode     deadlineMode  // in which the pool is told of it; "" means cacheOff
}

// ending is what became of a call.
type ending struct {
	err  error
	took time.Duration
	held time.Duration // time in which it had a slot
}

// simulate lets calls arrive and returns how each ended, in the same order.
func simulate(t *testing.T, l lender, arrivals []arrival) []ending {
	t.Helper()
	endings := make([]ending, len(arrivals))
	var all sync.WaitGroup
	for i, a := range arrivals {
		time.Sleep(a.after)
		all.Go(func() {
			ctx, need := t.Context(), a.need
			if a.patience > 0 {
				var cancel context.CancelFunc
				ctx, need, cancel = cmp.Or(a.mode, cacheOff).limit(ctx, need, a.patience)
				defer cancel()
			}
			began, e := time.Now(), &endings[i]
			var mu sync.Mutex // a hedge runs beside the first try
			e.err = l.With(ctx, need, func(ctx context.Context, lease *pool.Lease) error {
				lent := time.Now()
				defer func() {
					mu.Lock()
					defer mu.Unlock()
					e.held += time.Since(lent)
				}()
				_, err := lease.Host.Generate(ctx, &backend.GenerateRequest{
					Model: a.need.Model, Prompt: strings.Repeat("x", a.tokens),
				}, nil)
				return err
			})
			e.took = time.Since(began)
		})
	}
	all.Wait()
	return endings
}

// poisson are n calls that come at random, so many per second, with answers whose
// lengths are spread exponentially about a mean.
func poisson(n int, perSecond float64, tokens int, seed uint64) []arrival {
	random := rand.New(rand.NewPCG(seed, seed))
	all := make([]arrival, n)
	for i := range all {
		all[i] = arrival{
			after:  time.Duration(random.ExpFloat64() / perSecond * float64(time.Second)),
			need:   route.Need{Model: "m:latest"},
			tokens: 1 + int(random.ExpFloat64()*float64(tokens)),
		}
	}
	return all
}

func quantile(endings []ending, q float64) time.Duration {
	took := make([]time.Duration, len(endings))
	for i, e := range endings {
		took[i] = e.took
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(q*float64(len(took))))]
}

func failures(endings []ending) (n int) {
	for _, e := range endings {
		if e.err != nil {
			n++
		}
	}
	return n
}

func machines(ms ...*machine) (all []*machine, backends []backend.Backend) {
	for _, m := range ms {
		all, backends = append(all, newMachine(m)), append(backends, m)
	}
	return all, backends
}

func good(name string) *machine {
	return &machine{name: name, parallel: 2, perToken: 10 * time.Millisecond}
}

// kindOf sorts how calls end.
func kindOf(err error) string {
	_, full := errors.AsType[*pool.FullError](err)
	switch {
	case err == nil:
		return "served"
	case full:
		return "refused"
	case errors.Is(err, pool.ErrQueueTimeout):
		return "queue timeout"
	case errors.Is(err, backend.Caller):
		return "timeout at a host that hung"
	case errors.Is(err, pool.ErrNoHost):
		return "no host"
	}
	return "other"
}

// assertAllSlots borrows so many slots at the same time.
func assertAllSlots(t *testing.T, p *pool.Pool, model string, slots int) {
	t.Helper()
	var all sync.WaitGroup
	for range slots {
		all.Go(func() {
			need := route.Need{Model: model, OnWait: func(route.Standing, func() route.Standing) { t.Error("a slot is missing") }}
			if err := p.With(t.Context(), need, hold(time.Second)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
