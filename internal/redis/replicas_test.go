package redis

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// This file simulates replicas of the server in virtual time: each has a pool of its own, all have the
// same hosts, and callers stay with a replica as long as it is there. Replicas that share hosts through a
// Redis that answers at once are compared with one pool that gets all calls, and with replicas that do not
// talk to each other.

// company is what is simulated.
type company struct {
	replicas, hosts, callers int
	slots                    int           // of each host
	load                     float64       // part of what the hosts can do that callers ask for
	lasts                    time.Duration // virtual time
	comesAndGoes             time.Duration // time from one restart of a replica to the next
}

const (
	usualAnswer  = time.Second // mean time of an answer, on a host that is not slow
	slowFactor   = 4           // how much longer it takes on a slow host, of which each tenth is one
	favored      = 4           // how many more callers the first replica has than the last, as a factor
	restartTakes = 5 * time.Second
)

// fate is how a company fared.
type fate struct {
	served   float64 // calls per second
	lost     int     // calls that failed with their replica, and were made again elsewhere
	refused  int
	p50, p99 time.Duration
	over     int // most calls on a host at once, beyond its slots
}

func (v fate) String() string {
	return fmt.Sprintf("%7.1f/s served, p50 %6.2fs, p99 %6.2fs, %5d refused, %4d lost with a replica, at most %+d calls beyond the slots of a host",
		v.served, v.p50.Seconds(), v.p99.Seconds(), v.refused, v.lost, v.over)
}

// engine is a host that works on so many calls at once, and lets the others wait in their order.
type engine struct {
	backend.Backend
	name     string
	perToken time.Duration // of an answer, which has as many tokens as the prompt has bytes
	slots    chan struct{}

	mu                 sync.Mutex
	inside, mostInside int
}

func (e *engine) Name() string { return e.name }

func (e *engine) count(by int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inside += by
	e.mostInside = max(e.mostInside, e.inside)
}

func (e *engine) Generate(ctx context.Context, req *backend.GenerateRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	began := time.Now()
	e.count(1)
	defer e.count(-1)
	gone := func() error { return &backend.Error{Host: e.name, Class: backend.Caller, Err: ctx.Err()} }
	select {
	case e.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, gone()
	}
	defer func() { <-e.slots }()
	first := time.Since(began) + e.perToken
	for i, d := range []time.Duration{e.perToken, time.Duration(len(req.Prompt)-1) * e.perToken} {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, gone()
		}
		if i == 0 {
			onPiece(backend.Piece{Text: "x"})
		}
	}
	tokens := len(req.Prompt)
	return &backend.Answer{
		Text: "done", DoneReason: "stop", Tokens: tokens, Eval: time.Duration(tokens) * e.perToken, FirstPiece: first, Total: time.Since(began),
	}, nil
}

// replica is a server that may go.
type replica struct {
	*pool.Pool
	ctx   context.Context // ends when it is killed
	kill  context.CancelCauseFunc
	calls sync.WaitGroup
	leave func() // ends what it has with the others
}

var errKilled = errors.New("the replica was killed")

// fleet are the replicas of a company. Their hosts are the same machines.
type fleet struct {
	*world
	hosts  []backend.Backend
	shares bool // or each takes all slots of all hosts for its own
	slots  int
	queue  int

	mu  sync.Mutex
	all []*replica // nil for one that is being restarted
}

func (r *fleet) start(i int) {
	p, err := pool.New(pool.Options{Hosts: r.hosts, Slots: r.slots, Queue: r.queue, PerCaller: r.queue})
	if err != nil {
		r.t.Fatal(err)
	}
	one := &replica{Pool: p, leave: func() {}}
	one.ctx, one.kill = context.WithCancelCause(context.Background())
	if r.shares {
		c, stop := r.replica()
		ctx, cancel := context.WithCancel(context.Background())
		var sharing sync.WaitGroup
		sharing.Go(func() { c.ShareHosts(ctx, p) })
		one.leave = func() {
			cancel()
			sharing.Wait()
			stop()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[i] = one
}

// stop takes a replica away. One that is killed ends its calls, the others end by themselves.
func (r *fleet) stop(i int, killed bool) {
	r.mu.Lock()
	one := r.all[i]
	r.all[i] = nil
	r.mu.Unlock()
	if killed {
		one.kill(errKilled)
	}
	one.calls.Wait()
	one.leave()
}

// of returns the replica of a caller, its own or the next that is there, which has a call more then.
func (r *fleet) of(i int) *replica {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.all[i%len(r.all)] == nil; i++ {
	}
	one := r.all[i%len(r.all)]
	one.calls.Add(1)
	return one
}

// simulate runs a company for its time.
func (c company) simulate(w *world, shares bool) (v fate) {
	random := rand.New(rand.NewPCG(1, 2))
	r := &fleet{world: w, shares: shares, slots: c.slots, queue: 2 * c.callers, all: make([]*replica, c.replicas)}
	var engines []*engine
	rate := 0.0 // of calls that the hosts can serve
	for i := range c.hosts {
		e := &engine{name: fmt.Sprint("gpu-", i), perToken: usualAnswer / 100, slots: make(chan struct{}, c.slots)}
		if i%10 == 0 {
			e.perToken *= slowFactor
		}
		rate += float64(c.slots) / (100 * e.perToken).Seconds()
		engines = append(engines, e)
		r.hosts = append(r.hosts, e)
	}
	for i := range c.replicas {
		r.start(i)
	}
	think := time.Duration(float64(c.callers) / (c.load * rate) * float64(time.Second))
	end := time.Now().Add(c.lasts)
	var mu sync.Mutex
	var took []time.Duration
	var callers, stops sync.WaitGroup
	for i := range c.callers {
		home, seed := c.home(random), random.Uint64()
		callers.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			for {
				time.Sleep(time.Duration(random.ExpFloat64() * float64(think)))
				if time.Now().After(end) {
					return
				}
				tokens := 1 + int(random.ExpFloat64()*100)
				began, lost := time.Now(), 0
				err := r.ask(home, fmt.Sprint("caller-", i), tokens)
				for ; errors.Is(err, errKilled); lost++ {
					err = r.ask(home, fmt.Sprint("caller-", i), tokens)
				}
				mu.Lock()
				v.lost += lost
				if err != nil {
					v.refused++
				} else if time.Now().Before(end) {
					took = append(took, time.Since(began))
				}
				mu.Unlock()
			}
		})
	}
	for n := 0; time.Now().Add(c.comesAndGoes + restartTakes).Before(end); n++ {
		time.Sleep(c.comesAndGoes)
		if i := random.IntN(c.replicas); c.replicas > 1 {
			stops.Go(func() { r.stop(i, n%2 == 0) })
			time.Sleep(restartTakes)
			r.start(i)
		} else {
			time.Sleep(restartTakes)
		}
	}
	callers.Wait()
	for i := range r.all {
		r.stop(i, false)
	}
	stops.Wait()
	slices.Sort(took)
	v.served = float64(len(took)) / c.lasts.Seconds()
	v.p50, v.p99 = took[len(took)/2], took[len(took)*99/100]
	for _, e := range engines {
		v.over = max(v.over, e.mostInside-c.slots)
	}
	return v
}

// home draws the replica of a caller. The load of replicas is uneven, as behind a balancer by sessions.
func (c company) home(random *rand.Rand) int {
	for {
		i := random.IntN(c.replicas)
		if weight := 1 - (1-1.0/favored)*float64(i)/float64(max(1, c.replicas-1)); random.Float64() < weight {
			return i
		}
	}
}

func (r *fleet) ask(home int, caller string, tokens int) error {
	own := r.of(home)
	defer own.calls.Done()
	err := own.With(own.ctx, route.Need{Model: "m:latest", Caller: caller}, func(ctx context.Context, l *pool.Lease) error {
		_, err := l.Host.Generate(ctx, &backend.GenerateRequest{Model: "m:latest", Prompt: strings.Repeat("x", tokens)}, nil)
		return err
	})
	if own.ctx.Err() != nil {
		return errKilled
	}
	return err
}

var size = flag.String("company", "4/10/200/2/30s", "`replicas/hosts/callers/slots/time` to simulate")

// With -company, and -v to see the figures, this is make simulate.
func TestReplicasThatShareHostsOfferThemNoMoreThanTheyTake(t *testing.T) {
	c := company{load: 0.9, comesAndGoes: 10 * time.Second}
	var lasts string
	if _, err := fmt.Sscanf(strings.ReplaceAll(*size, "/", " "), "%d %d %d %d %s", &c.replicas, &c.hosts, &c.callers, &c.slots, &lasts); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.lasts, err = time.ParseDuration(lasts); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d replicas, %d hosts with %d slots, %d callers, load %.2f, %v", c.replicas, c.hosts, c.slots, c.callers, c.load, c.lasts)
	var one, alone, shared fate
	inWorld(t, func(_ *testing.T, w *world) {
		all := c
		all.replicas = 1
		one = all.simulate(w, false)
	})
	inWorld(t, func(_ *testing.T, w *world) { alone = c.simulate(w, false) })
	inWorld(t, func(_ *testing.T, w *world) { shared = c.simulate(w, true) })
	t.Logf("one queue for all:          %v", one)
	t.Logf("replicas that do not talk:  %v; goodput %.3f and p99 %.2f times that of one queue", alone, alone.served/one.served, alone.p99.Seconds()/one.p99.Seconds())
	t.Logf("replicas that share hosts:  %v; goodput %.3f and p99 %.2f times that of one queue", shared, shared.served/one.served, shared.p99.Seconds()/one.p99.Seconds())
	if one.over > 0 {
		t.Errorf("one pool has offered a host %d calls more than it has slots", one.over)
	}
	if alone.over <= 1 {
		t.Errorf("replicas that do not talk have offered a host %d calls more than it has slots: the simulation shows nothing", alone.over)
	}
	if shared.over > 0 {
		t.Errorf("replicas that share have offered a host %d calls more than it has slots", shared.over)
	}
	if shared.served < 0.7*one.served {
		t.Errorf("replicas that share serve %.1f/s, one queue %.1f/s", shared.served, one.served)
	}
	if one.refused+alone.refused+shared.refused > 0 {
		t.Errorf("%d, %d and %d calls were refused", one.refused, alone.refused, shared.refused)
	}
}
