package pool_test

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
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// This file simulates replicas of the server in virtual time: each has a pool of its own, all have the
// same hosts, and callers stay with a replica as long as it is there. A company's replicas that share
// hosts are compared with one pool that gets all calls, and with replicas that do not talk to each other.

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

// replica is a server that may go.
type replica struct {
	*pool.Pool
	ctx  context.Context // ends when it is killed
	kill context.CancelCauseFunc
}

var errKilled = errors.New("the replica was killed")

// replicas are those of a company. Their hosts are the same machines.
type replicas struct {
	t      testing.TB
	hosts  []backend.Backend
	shares bool // or each takes all slots of all hosts for its own
	slots  int
	queue  int

	mu  sync.Mutex
	all []*replica // nil for one that is being restarted
}

func (r *replicas) start(i int) {
	p, err := pool.New(pool.Options{Hosts: r.hosts, Slots: r.slots, Queue: r.queue, PerCaller: r.queue})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.shares { // it has none until it is told which
		none := make(map[string]pool.Part)
		for _, h := range r.hosts {
			none[h.Name()] = pool.Part{}
		}
		p.Divide(none)
	}
	ctx, kill := context.WithCancelCause(context.Background())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[i] = &replica{p, ctx, kill}
}

// stop takes a replica away. One that is killed ends its calls, the others end by themselves.
func (r *replicas) stop(i int, killed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if killed {
		r.all[i].kill(errKilled)
	}
	r.all[i] = nil
}

// of returns the replica of a caller: its own, or the next that is there.
func (r *replicas) of(i int) *replica {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.all[i%len(r.all)] == nil; i++ {
	}
	return r.all[i%len(r.all)]
}

// shareEvery is the time between two divisions of the hosts among replicas.
const shareEvery = 250 * time.Millisecond

// share divides the hosts among the replicas, as leases in Redis do, until ctx ends: each keeps the slots
// that its calls have, and those that are left go one by one to the replica that has the fewest of those
// that want more, or else of all.
func (r *replicas) share(ctx context.Context) {
	for turn := 0; ctx.Err() == nil; turn++ {
		r.divide(turn)
		select {
		case <-time.After(shareEvery):
		case <-ctx.Done():
		}
	}
}

func (r *replicas) divide(turn int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts, wants := make([]map[string]pool.Part, len(r.all)), make([]map[string]int, len(r.all))
	left := make(map[string]int)
	for _, h := range r.hosts {
		left[h.Name()] = r.slots
	}
	for i, one := range r.all {
		if one == nil {
			continue
		}
		parts[i], wants[i] = make(map[string]pool.Part), make(map[string]int)
		for _, c := range one.Claims() {
			busy := 0
			for _, calls := range c.Busy {
				busy += calls
			}
			parts[i][c.Host], wants[i][c.Host] = pool.Part{Slots: busy}, c.Wants
			left[c.Host] -= busy
		}
	}
	for n, h := range r.hosts {
		for name := h.Name(); left[name] > 0; left[name]-- {
			best, bestWants := -1, false
			for k := range r.all {
				i := (k + n + turn) % len(r.all) // or the first would have the slots that nobody wants
				if parts[i] == nil {
					continue
				}
				more := wants[i][name] > parts[i][name].Slots
				if best < 0 || more && !bestWants || more == bestWants && parts[i][name].Slots < parts[best][name].Slots {
					best, bestWants = i, more
				}
			}
			part := parts[best][name]
			part.Slots++
			parts[best][name] = part
		}
	}
	for i, one := range r.all {
		if one != nil {
			one.Divide(parts[i])
		}
	}
}

// simulate runs a company for its time.
func (c company) simulate(t testing.TB, shares bool) (v fate) {
	random := rand.New(rand.NewPCG(1, 2))
	r := &replicas{t: t, shares: shares, slots: c.slots, queue: 2 * c.callers, all: make([]*replica, c.replicas)}
	var ms []*machine
	rate := 0.0 // of calls that the hosts can serve
	for i := range c.hosts {
		m := &machine{name: fmt.Sprint("gpu-", i), parallel: c.slots, perToken: usualAnswer / 100}
		if i%10 == 0 {
			m.perToken *= slowFactor
		}
		rate += float64(c.slots) / (100 * m.perToken).Seconds()
		ms = append(ms, newMachine(m))
		r.hosts = append(r.hosts, m)
	}
	for i := range c.replicas {
		r.start(i)
	}
	ctx, unshare := context.WithCancel(context.Background())
	defer unshare()
	var sharing sync.WaitGroup
	if shares {
		sharing.Go(func() { r.share(ctx) })
	}
	think := time.Duration(float64(c.callers) / (c.load * rate) * float64(time.Second))
	end := time.Now().Add(c.lasts)
	var mu sync.Mutex
	var took []time.Duration
	var callers sync.WaitGroup
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
			r.stop(i, n%2 == 0)
			time.Sleep(restartTakes)
			r.start(i)
		} else {
			time.Sleep(restartTakes)
		}
	}
	callers.Wait()
	unshare()
	sharing.Wait()
	slices.Sort(took)
	v.served = float64(len(took)) / c.lasts.Seconds()
	v.p50, v.p99 = took[len(took)/2], took[len(took)*99/100]
	for _, m := range ms {
		v.over = max(v.over, m.mostAtOnce-c.slots)
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

func (r *replicas) ask(home int, caller string, tokens int) error {
	own := r.of(home)
	err := own.With(own.ctx, route.Need{Model: "m:latest", Caller: caller}, func(ctx context.Context, l *pool.Lease) error {
		_, err := l.Host.Generate(ctx, &backend.GenerateRequest{Model: "m:latest", Prompt: strings.Repeat("x", tokens)}, nil)
		return err
	})
	if own.ctx.Err() != nil {
		return errKilled
	}
	return err
}

var size = flag.String("company", "4/10/200/2/1m", "`replicas/hosts/callers/slots/time` to simulate")

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
	synctest.Test(t, func(t *testing.T) {
		all := c
		all.replicas = 1
		one = all.simulate(t, false)
	})
	synctest.Test(t, func(t *testing.T) { alone = c.simulate(t, false) })
	synctest.Test(t, func(t *testing.T) { shared = c.simulate(t, true) })
	t.Logf("one queue for all:          %v", one)
	t.Logf("replicas that do not talk:  %v; goodput %.3f and p99 %.2f times that of one queue", alone, alone.served/one.served, alone.p99.Seconds()/one.p99.Seconds())
	t.Logf("replicas that share hosts:  %v; goodput %.3f and p99 %.2f times that of one queue", shared, shared.served/one.served, shared.p99.Seconds()/one.p99.Seconds())
	if one.over > 0 {
		t.Errorf("one pool has offered a host %d calls more than it has slots", one.over)
	}
	if alone.over <= 1 {
		t.Errorf("replicas that do not talk have offered a host %d calls more than it has slots: the simulation shows nothing", alone.over)
	}
	if shared.over > 1 {
		t.Errorf("replicas that share have offered a host %d calls more than it has slots", shared.over)
	}
	if shared.served < 0.7*one.served {
		t.Errorf("replicas that share serve %.1f/s, one queue %.1f/s", shared.served, one.served)
	}
	if one.refused+alone.refused+shared.refused > 0 {
		t.Errorf("%d, %d and %d calls were refused", one.refused, alone.refused, shared.refused)
	}
}
