package pool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
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
	ended := make(chan struct{})
	var checks sync.WaitGroup
	checks.Go(func() {
		for {
			p.Know(host, pool.Facts{Up: true})
			select {
			case <-time.After(5 * time.Second):
			case <-ended:
				return
			}
		}
	})
	return func() { close(ended); checks.Wait() }
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
