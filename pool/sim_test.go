//go:build !race

package pool_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
			l := newLender(t, naively, pool.Options{Slots: 2, Queue: 10000, PerCaller: 10000}, ms...)
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
	if ours > naive/10 {
		t.Errorf("p99 is %v, want less than a tenth of %v", ours, naive)
	}
}

func TestHostThatFailsFastDrawsFewCallsAndSpoilsNone(t *testing.T) {
	run := func(naively bool) (drawn float64, failed int) {
		synctest.Test(t, func(t *testing.T) {
			broken := good("broken")
			broken.fails = func(time.Time) *fault { return &fault{after: 2 * time.Millisecond, class: backend.Server} }
			l := newLender(t, naively, pool.Options{Slots: 2, Queue: 10000, PerCaller: 10000}, broken, good("a"), good("b"), good("c"))
			stop := checksGoWell(l, "broken")
			got := simulate(t, l, poisson(3000, 4, 100, 2))
			stop()
			drawn, failed = 100*float64(broken.calls)/float64(len(got)), failures(got)
		})
		return drawn, failed
	}
	ours, failed := run(false)
	theirs, theirFailed := run(true)
	t.Logf("it drew %.2f %% of the calls and callers saw %d of its failures; round robin: %.0f %% and %d", ours, failed, theirs, theirFailed)
	if ours > 2.5 {
		t.Errorf("it drew %.2f %% of the calls", ours)
	}
	if failed > 0 || theirFailed < 500 {
		t.Errorf("%d callers saw a failure, and %d with round robin, want none and a quarter of 3000", failed, theirFailed)
	}
}

// checksGoWell tells a pool every 5 s that a host is up, until it is stopped.
func checksGoWell(l lender, host string) (stop func()) {
	p, ok := l.(*pool.Pool)
	if !ok {
		return func() {}
	}
	return checks(p, host, pool.Facts{Up: true})
}

func TestTenfoldOverloadLeavesGoodputAndMemoryAsTheyWere(t *testing.T) {
	run := func(naively bool, perSecond float64) (goodput float64, refusal time.Duration, heap uint64) {
		synctest.Test(t, func(t *testing.T) {
			l := newLender(t, naively, pool.Options{Slots: 2, PerCaller: 256}, good("a"), good("b"), good("c"), good("d"))
			calls := poisson(int(100*perSecond), perSecond, 100, 3)
			for i := range calls {
				calls[i].patience = 30 * time.Second
			}
			began := time.Now()
			got := simulate(t, l, calls)
			lost := slices.DeleteFunc(slices.Clone(got), func(e ending) bool { return e.err == nil })
			goodput = float64(len(got)-len(lost)) / time.Since(began).Seconds()
			refusal = quantile(lost, 0.5)
			for _, e := range lost {
				if full, ok := errors.AsType[*pool.FullError](e.err); ok && (e.took > 0 || full.RetryAfter <= 0) {
					t.Errorf("refused after %v, with %v to wait", e.took, full.RetryAfter)
				}
			}
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			heap = m.HeapAlloc
		})
		return goodput, refusal, heap
	}
	peak, _, before := run(false, 8) // as many as there is room for
	over, refusal, after := run(false, 80)
	theirs, theirRefusal, _ := run(true, 80)
	t.Logf("goodput %.2f/s at capacity and %.2f/s at ten times that, a refusal after %v; first come first served: %.2f/s, after %v; our heap %d and %d KiB",
		peak, over, refusal, theirs, theirRefusal, before>>10, after>>10)
	if over < 0.95*peak || over < 0.95*theirs {
		t.Errorf("goodput fell from %.2f/s to %.2f/s, and %.2f/s first come first served", peak, over, theirs)
	}
	if refusal > 0 || theirRefusal < 10*time.Second {
		t.Errorf("half of those who are not served know it after %v, and after %v first come first served", refusal, theirRefusal)
	}
	if after > before+(4<<20) {
		t.Errorf("memory grew from %d to %d KiB", before>>10, after>>10)
	}
}

func TestModelsThatShareAHostTakeTurnsInBlocks(t *testing.T) {
	const capacity, cap = 1, 10 * time.Second
	run := func(naively bool) (perSecond float64, most time.Duration, loads int) {
		synctest.Test(t, func(t *testing.T) {
			gpu := &machine{name: "gpu", parallel: 1, perToken: time.Millisecond, load: 5 * time.Second, holds: capacity}
			l := newLender(t, naively, pool.Options{Slots: 1, MaxPassedOver: cap}, gpu)
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
			perSecond, loads = float64(done)/600, gpu.loads
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

func TestCrowdedModelLeavesAHostToOneThatIsAskedForNowAndThen(t *testing.T) {
	calls := poisson(14_000, 7.8, 100, 6) // more than three hosts can serve
	random := rand.New(rand.NewPCG(6, 6))
	for i := range calls {
		calls[i].need.Caller = "crowd"
		if random.IntN(40) == 0 { // one in five seconds
			calls[i].need = route.Need{Model: "n:latest", Caller: "one"}
		}
	}
	run := func(naively bool) (perSecond float64, wait time.Duration, loads int) {
		synctest.Test(t, func(t *testing.T) {
			var hosts []*machine
			for _, name := range []string{"a", "b", "c"} {
				hosts = append(hosts, &machine{name: name, parallel: 2, perToken: 10 * time.Millisecond, load: 20 * time.Second, holds: 1})
			}
			began := time.Now()
			got := simulate(t, newLender(t, naively, pool.Options{Slots: 2}, hosts...), calls)
			perSecond = float64(len(got)-failures(got)) / time.Since(began).Seconds()
			var one []ending
			for i, e := range got {
				if calls[i].need.Caller == "one" {
					one = append(one, e)
				}
			}
			wait = quantile(one, 0.5)
			for _, h := range hosts {
				loads += h.loads
			}
		})
		return perSecond, wait, loads
	}
	ours, wait, loads := run(false)
	theirs, theirWait, theirLoads := run(true)
	t.Logf("%.2f/s with %d loads, and %v for a call of the other model; round robin: %.2f/s with %d loads, and %v", ours, loads, wait, theirs, theirLoads, theirWait)
	if ours < 0.8*4 { // two hosts alone serve 4/s
		t.Errorf("%.2f/s are served, of 4/s by the two hosts that the other model leaves", ours)
	}
	if wait > 3*time.Second || loads > 60 {
		t.Errorf("half the calls of the other model take longer than %v, and there are %d loads: it is driven out", wait, loads)
	}
}

func TestCallerWhoAsksAHundredTimesAsOftenGetsNoMore(t *testing.T) {
	const callers = 8
	var calls []arrival
	random := rand.New(rand.NewPCG(5, 5))
	for _, a := range poisson(12000, 107, 100, 5) { // 100 from the first to each from the others
		a.need.Caller = string(rune('a' + max(0, random.IntN(100+callers-1)-99)))
		a.patience = time.Minute
		calls = append(calls, a)
	}
	run := func(naively bool) (served [callers]float64) {
		synctest.Test(t, func(t *testing.T) {
			got := simulate(t, newLender(t, naively, pool.Options{Slots: 2}, good("a"), good("b")), calls)
			for i, e := range got {
				served[calls[i].need.Caller[0]-'a'] += e.held.Seconds()
			}
		})
		return served
	}
	ours, theirs := run(false), run(true)
	t.Logf("seconds served by caller: %.0f; Jain's index %.3f; first come first served: %.0f; %.3f", ours, jain(ours[:]), theirs, jain(theirs[:]))
	if jain(ours[:]) < 0.95 || jain(theirs[:]) > 0.5 {
		t.Errorf("Jain's index is %.3f, and %.3f first come first served", jain(ours[:]), jain(theirs[:]))
	}
}

// sharedHosts has callers of two models share hosts that have room for one model each, and
// returns how long a thousand calls take and how many loads they cost.
func sharedHosts(t *testing.T, hosts, slots, parallel, callers int, seed uint64) (took time.Duration, loads int) {
	synctest.Test(t, func(t *testing.T) {
		var ms []*machine
		for i := range hosts {
			ms = append(ms, &machine{name: fmt.Sprint("gpu-", i+1), parallel: parallel, perToken: 10 * time.Millisecond, load: 5 * time.Second, holds: 1})
		}
		all, backends := machines(ms...)
		p := newPool(t, pool.Options{Hosts: backends, Slots: slots, Queue: 1000, PerCaller: 1000})
		var next atomic.Int64
		var group sync.WaitGroup
		began := time.Now()
		for i := range callers {
			model := []string{"a:latest", "b:latest"}[i%2]
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			group.Go(func() {
				for next.Add(1) <= 1000 {
					if err := ask(t.Context(), p, model, 1+int(random.ExpFloat64()*20)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		took, loads = time.Since(began), loadsOf(all)
	})
	return took, loads
}

// Each host has room for one of two models, so that calls of the other cost a load.
func TestLearnedSlotsCostHardlyMoreLoadsAndTimeThanTheRightOnes(t *testing.T) {
	var given, learned time.Duration
	var givenLoads, learnedLoads, all int
	for _, parallel := range []int{1, 4} { // calls that a host works on at once
		for _, hosts := range []int{2, 4} {
			for _, callers := range []int{8, 16} {
				const seed = 0
				took, loads := sharedHosts(t, hosts, parallel, parallel, callers, seed)
				all += hosts
				given, givenLoads = given+took, givenLoads+loads
				took, loads = sharedHosts(t, hosts, 0, parallel, callers, seed)
				learned, learnedLoads = learned+took, learnedLoads+loads
			}
		}
	}
	t.Logf("%d hosts: with given slots %.0f s and %d loads, with learned ones %.0f s and %d loads",
		all, given.Seconds(), givenLoads, learned.Seconds(), learnedLoads)
	// One load for each host is the least. The time includes that for learning. Which calls
	// meet is a matter of chance, so only the sum over all runs is judged.
	if float64(learned) > 1.3*float64(given) || learnedLoads > 2*all {
		t.Errorf("%v with learned slots and %v with given ones, %d and %d loads on %d hosts", learned, given, learnedLoads, givenLoads, all)
	}
}

// A host of two at once that answers in 20 ms could serve a hundred a second, but a slot is
// held for 80 ms more, be it by the caller or on the way of the answer.
func TestHostIsKeptBusyThoughSlotsAreHeldBesideItsWork(t *testing.T) {
	for name, c := range map[string]struct{ onTheWay, afterwards time.Duration }{
		"by the caller": {afterwards: 80 * time.Millisecond},
		"on the way":    {onTheWay: 80 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, backends := machines(&machine{name: "gpu", parallel: 2, perToken: time.Millisecond})
			p := newPool(t, pool.Options{Hosts: []backend.Backend{distant{backends[0], c.onTheWay}}})
			served := shortAnswers(t, p, c.afterwards)
			busy := float64(served) / 60 / 100
			t.Logf("%s: the host is %.0f %% busy, with %d slots", name, 100*busy, p.Stats().Hosts[0].Slots)
			if busy < 0.82 { // three quarters if only its own work is looked at
				t.Errorf("%s: the host is %.0f %% busy while 60 callers wait", name, 100*busy)
			}
		})
	}
}

// shortAnswers has 60 callers ask for two minutes, each keeping its slot for a while after
// an answer, and returns how many calls were served in the second.
func shortAnswers(t *testing.T, p *pool.Pool, afterwards time.Duration) (served int64) {
	learned := time.Now().Add(time.Minute)
	end := learned.Add(time.Minute)
	var late atomic.Int64
	var all sync.WaitGroup
	for i := range 60 {
		random := rand.New(rand.NewPCG(9, uint64(i)))
		all.Go(func() {
			for time.Now().Before(end) {
				err := p.With(t.Context(), route.Need{Model: "m:latest"}, func(ctx context.Context, l *pool.Lease) error {
					err := generate(ctx, l.Host, "m:latest", 1+int(20*random.ExpFloat64()))
					time.Sleep(afterwards)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if time.Now().After(learned) {
					late.Add(1)
				}
			}
		})
	}
	all.Wait()
	return late.Load()
}

// distant is a host whose answers take a while to come, once it has done its work.
type distant struct {
	backend.Backend
	way time.Duration
}

func (d distant) Generate(ctx context.Context, req *backend.GenerateRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	answer, err := d.Backend.Generate(ctx, req, onPiece)
	time.Sleep(d.way)
	if answer != nil {
		answer.Total += d.way
	}
	return answer, err
}

func TestModelsThatShareAHostOfManySlotsTakeTurnsInBlocks(t *testing.T) {
	run := func(callers int, naively bool) (served int64, loads int) {
		synctest.Test(t, func(t *testing.T) {
			gpu := &machine{name: "gpu", parallel: 4, perToken: time.Millisecond, load: 5 * time.Second, holds: 1}
			l := newLender(t, naively, pool.Options{Slots: 4}, gpu)
			var done atomic.Int64
			var all sync.WaitGroup
			end := time.Now().Add(5 * time.Minute)
			for i := range callers { // each asks again as soon as it is answered
				need := route.Need{Model: []string{"a:latest", "b:latest"}[i%2], Caller: string(rune('A' + i))}
				all.Go(func() {
					for time.Now().Before(end) {
						err := l.With(t.Context(), need, func(ctx context.Context, l *pool.Lease) error {
							return generate(ctx, l.Host, need.Model, 100+i)
						})
						if err != nil {
							t.Error(err)
						}
						done.Add(1)
					}
				})
			}
			all.Wait()
			served, loads = done.Load(), gpu.loads
		})
		return served, loads
	}
	served, loads := run(40, false)
	theirs, theirLoads := run(40, true)
	t.Logf("%d calls with %d loads; first come first served: %d calls with %d loads", served, loads, theirs, theirLoads)
	if served < 5*theirs {
		t.Errorf("%d calls are less than five times %d", served, theirs)
	}
	few, fewLoads := run(6, false) // none waits while all three of a model are served
	t.Logf("with few callers: %d calls with %d loads", few, fewLoads)
	const most = 5*60/10 + 2 // one in each MaxPassedOver
	if loads > most || fewLoads > most {
		t.Errorf("%d and %d loads in five minutes, want at most %d", loads, fewLoads, most)
	}
}

func TestQueueThatLastsDrivesOutNoModelThatIsWantedBack(t *testing.T) {
	for _, pause := range []time.Duration{0, 10 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			hosts, backends := machines(oneByOne("gpu-1"), oneByOne("gpu-2"))
			p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
			end := time.Now().Add(30 * time.Minute)
			much := keepAsking(t, p, 20, "much:latest", end, 0)
			little := keepAsking(t, p, 1, "little:latest", end, pause)
			much.Wait()
			little.Wait()
			// The first two, and some to find out that there is no room for both.
			if loads := loadsOf(hosts); loads > 10 {
				t.Errorf("%d loads in half an hour in which the second model was wanted again after %v", loads, pause)
			}
		})
	}
}

// jain is how equal shares are (Jain, Chiu and Hawe, 1984): 1 if they all are, 1/n if one
// has it all.
func jain(shares []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, s := range shares {
		sum += s
		squares += s * s
	}
	return sum * sum / (float64(len(shares)) * squares)
}
