package pool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestSlowHostHelpsWithoutBeingWaitedFor(t *testing.T) {
	calls := poisson(6000, 4, 100, 1)
	p99 := func(naively bool, ms ...*machine) (p50, p99 time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			hosts, backends := machines(ms...)
			var l lender = newPool(t, pool.Options{Hosts: backends, Slots: 2, Queue: 10000, PerCaller: 10000})
			if naively {
				l = newNaive(hosts, 2)
			}
			got := simulate(t, l, calls)
			p50, p99 = quantile(got, 0.5), quantile(got, 0.99)
		})
		return p50, p99
	}
	slow := func() *machine {
		return &machine{name: "slow", parallel: 2, perToken: 40 * time.Millisecond}
	}
	ours50, ours := p99(false, slow(), good("a"), good("b"), good("c"))
	three50, three := p99(false, good("a"), good("b"), good("c"))
	naive50, naive := p99(true, slow(), good("a"), good("b"), good("c"))
	t.Logf("p50, p99: with the slow host %v %v, without it %v %v, round robin %v %v", ours50, ours, three50, three, naive50, naive)
	if float64(ours) > 1.3*float64(three) {
		t.Errorf("p99 is %v with the slow host, %v without it", ours, three)
	}
}

func TestHostThatFailsFastDrawsFewCallsAndSpoilsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := good("broken")
		broken.fails = func(time.Time) *fault { return &fault{after: 2 * time.Millisecond, class: backend.Server} }
		_, backends := machines(broken, good("a"), good("b"), good("c"))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 2, Queue: 10000, PerCaller: 10000})
		ctx, stop := context.WithCancel(t.Context())
		var checks sync.WaitGroup
		checks.Go(func() { // it answers every check
			for ctx.Err() == nil {
				p.Know("broken", pool.Facts{Up: true})
				select {
				case <-time.After(5 * time.Second):
				case <-ctx.Done():
				}
			}
		})
		got := simulate(t, p, poisson(6000, 4, 100, 2))
		stop()
		checks.Wait()
		drawn := float64(broken.calls) / float64(len(got))
		t.Logf("it drew %.2f %% of the calls; callers saw %d of its failures (round robin: 25 %%)", 100*drawn, failures(got))
		if drawn > 0.025 {
			t.Errorf("it drew %.2f %% of the calls", 100*drawn)
		}
		if n := failures(got); n > 0 {
			t.Errorf("%d callers saw a failure", n)
		}
	})
}

func TestTenfoldOverloadLeavesGoodputAndMemoryAsTheyWere(t *testing.T) {
	run := func(perSecond float64, n int) (goodput float64, slowest time.Duration, heap uint64) {
		synctest.Test(t, func(t *testing.T) {
			_, backends := machines(good("a"), good("b"), good("c"), good("d"))
			p := newPool(t, pool.Options{Hosts: backends, Slots: 2, PerCaller: 256})
			calls := poisson(n, perSecond, 100, 3)
			for i := range calls {
				calls[i].patience = 30 * time.Second
			}
			began := time.Now()
			got := simulate(t, p, calls)
			for _, e := range got {
				if e.err == nil {
					goodput++
				} else if full, ok := errors.AsType[*pool.FullError](e.err); ok && full.RetryAfter > 0 {
					slowest = max(slowest, e.took)
				}
			}
			goodput /= time.Since(began).Seconds()
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			heap = m.HeapAlloc
		})
		return goodput, slowest, heap
	}
	peak, _, before := run(8, 4800) // as many as there is room for
	over, slowest, after := run(80, 48000)
	t.Logf("goodput %.2f/s at capacity, %.2f/s at ten times that; heap %d and %d KiB", peak, over, before>>10, after>>10)
	if over < 0.95*peak {
		t.Errorf("goodput fell from %.2f/s to %.2f/s", peak, over)
	}
	if slowest > 0 {
		t.Errorf("a refusal took %v", slowest)
	}
	if after > before+(4<<20) {
		t.Errorf("memory grew from %d to %d KiB", before>>10, after>>10)
	}
}

func TestModelsThatShareAHostTakeTurnsInBlocks(t *testing.T) {
	const capacity, cap = 1, 10 * time.Second
	run := func(naively bool) (perSecond float64, most time.Duration, loads int) {
		synctest.Test(t, func(t *testing.T) {
			hosts, backends := machines(&machine{
				name: "gpu", parallel: 1, perToken: time.Millisecond, load: 5 * time.Second, holds: capacity,
			})
			var l lender = newPool(t, pool.Options{Hosts: backends, Slots: 1, MaxPassedOver: cap})
			if naively {
				l = newNaive(hosts, 1)
			}
			done, stop := 0, time.Now().Add(10*time.Minute)
			var all sync.WaitGroup
			for i := range 40 { // each asks again as soon as it is answered
				all.Go(func() {
					for time.Now().Before(stop) {
						need := route.Need{Model: []string{"a:latest", "b:latest"}[i%2], Caller: string(rune('A' + i))}
						asked := time.Now()
						err := l.With(t.Context(), need, func(ctx context.Context, lease *pool.Lease) error {
							most = max(most, time.Since(asked))
							done++ // one slot: never at the same time
							_, err := lease.Host.Generate(ctx, &backend.GenerateRequest{Model: need.Model, Prompt: strings.Repeat("x", 100)}, nil)
							return err
						})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			perSecond, loads = float64(done)/600, hosts[0].loads
		})
		return perSecond, most, loads
	}
	ours, longest, loads := run(false)
	theirs, _, theirLoads := run(true)
	t.Logf("%.2f/s with %d loads and a longest wait of %v; first come first served: %.2f/s with %d loads", ours, loads, longest, theirs, theirLoads)
	if ours < 5*theirs {
		t.Errorf("%.2f/s is less than five times %.2f/s", ours, theirs)
	}
	// At worst one comes when its block has just ended: a load, the other's block, its own load, and two rounds of its own.
	if limit := cap + 2*(5*time.Second+100*time.Millisecond) + 2*20*100*time.Millisecond; longest > limit {
		t.Errorf("somebody waited %v, want at most %v", longest, limit)
	}
}

func TestCallerWhoAsksAHundredTimesAsOftenGetsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(good("a"), good("b"))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 2})
		const callers = 8
		var calls []arrival
		random := rand.New(rand.NewPCG(5, 5))
		for _, a := range poisson(60000, 107, 100, 5) { // 100 from the first to each from the others
			a.need.Caller = string(rune('a' + max(0, random.IntN(100+callers-1)-99)))
			a.patience = time.Minute
			calls = append(calls, a)
		}
		got := simulate(t, p, calls)
		var served [callers]float64
		for i, e := range got {
			served[calls[i].need.Caller[0]-'a'] += e.held.Seconds()
		}
		sum, squares := 0.0, 0.0
		for _, s := range served {
			sum += s
			squares += s * s
		}
		jain := sum * sum / (callers * squares)
		t.Logf("seconds served by caller: %.0f; Jain's index %.3f", served, jain)
		if jain < 0.95 {
			t.Errorf("Jain's index is %.3f", jain)
		}
	})
}

func TestHostsThatDieHangAndReturnLoseNoCallAndNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(6, 6))
		var mu sync.Mutex
		trouble := func() func(time.Time) *fault {
			var until time.Time
			var current *fault
			return func(now time.Time) *fault {
				mu.Lock()
				defer mu.Unlock()
				if now.After(until) {
					until = now.Add(time.Duration(random.ExpFloat64() * float64(2*time.Minute)))
					switch random.IntN(12) {
					case 0:
						current = &fault{class: backend.Transport}
					case 1:
						current = &fault{hangs: true}
					case 2:
						current = &fault{after: 2 * time.Millisecond, class: backend.Overload}
					default:
						current = nil
					}
				}
				return current
			}
		}
		var ms []*machine
		for _, name := range []string{"a", "b", "c", "d"} {
			m := good(name)
			m.fails = trouble()
			ms = append(ms, m)
		}
		_, backends := machines(ms...)
		p := newPool(t, pool.Options{Hosts: backends, Slots: 2, MaxInFlight: 7})
		calls := poisson(14400, 4, 100, 6)
		for i := range calls {
			calls[i].patience = 55 * time.Second
			calls[i].need.Caller = string(rune('a' + i%5))
			calls[i].need.Priority = route.Priority(i % 2)
		}
		got := simulate(t, p, calls)
		ends := map[string]int{}
		for _, e := range got {
			ends[kindOf(e.err)]++
		}
		s := p.Stats()
		t.Logf("an hour of %d calls: %v; %d tries were repeated", len(got), ends, s.Retried)
		if s.InFlight != 0 || s.Queue.Waiting != 0 || s.Queue.Bytes != 0 {
			t.Errorf("after all is over: %+v", s)
		}
		if ended := s.Served + s.Refused + s.GaveUp; ended > s.Calls {
			t.Errorf("%d calls ended %d times", s.Calls, ended)
		}
		for _, m := range ms {
			m.fails = nil
			if m.mostAtOnce > 2 {
				t.Errorf("%s was asked for %d at once", m.name, m.mostAtOnce)
			}
		}
		time.Sleep(10 * time.Minute) // longer than anybody is ejected
		if after := simulate(t, p, poisson(100, 2, 100, 7)); failures(after) > 0 {
			t.Errorf("%d of 100 calls failed when all hosts were well again", failures(after))
		}
		assertAllSlots(t, p, 7)
		if fault := ends["no host"] + ends["other"]; fault > len(got)/100 {
			t.Errorf("%d of %d calls failed by the fault of hosts that answer", fault, len(got))
		}
	})
}
