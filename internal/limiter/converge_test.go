//go:build !race

package limiter_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ollama-mcp/internal/limiter"
)

// loads differ in the length of answers.
var loads = map[string]load{
	"short answers":          {tokens: func(*rand.Rand) int { return 8 }},
	"answers of any length":  {tokens: anyLength},
	"lengths differing 100x": {tokens: func(r *rand.Rand) int { return []int{10, 1000}[r.IntN(2)] }},
}

func anyLength(r *rand.Rand) int { return 1 + int(200*r.ExpFloat64()) }

func TestLearnedLimitServesNearlyAllThatAHostCan(t *testing.T) {
	for kind, newHost := range map[string]func(int) host{"queueing": queueing, "sharing": sharing} {
		for name, load := range loads {
			for _, parallel := range []int{1, 2, 4, 8} {
				host := newHost(parallel)
				for _, initial := range []int{1, 4, 64} {
					learned := limiter.New(limiter.Options{Initial: initial})
					got := run(host, load, 2, 6000, learned) / host.capacity()
					about := fmt.Sprintf("%s %d, %s, from %d: %.3f of what it can, limit %d (%s)",
						kind, parallel, name, initial, got, learned.Limit(), learned.Reason())
					t.Log(about)
					if got < 0.95 {
						t.Errorf("%s: want 0.95", about)
					}
				}
			}
		}
	}
}

func TestCallsWaitOutsideOfAHostThatDoesNoMoreWithThem(t *testing.T) {
	for kind, newHost := range map[string]func(int) host{"queueing": queueing, "sharing": sharing} {
		for name, load := range loads {
			for _, parallel := range []int{1, 2, 4, 8} {
				learned := &mean{Limiter: limiter.New(limiter.Options{})}
				run(newHost(parallel), load, 3, 6000, learned)
				got := learned.sum / learned.n
				t.Logf("%s %d, %s: a limit of %.1f on average", kind, parallel, name, got)
				if got > float64(2*parallel+1) {
					t.Errorf("%s %d, %s: a limit of %.1f on average, want little more than it works on",
						kind, parallel, name, got)
				}
			}
		}
	}
}

// mean is a limiter whose limit is added up.
type mean struct {
	*limiter.Limiter
	sum, n float64
}

func (m *mean) Observe(now time.Time, s limiter.Sample) {
	m.Limiter.Observe(now, s)
	m.sum += float64(m.Limit())
	m.n++
}

func TestLimitEndsNearTheSameWhereverItBegan(t *testing.T) {
	for kind, host := range map[string]host{"queueing": queueing(4), "sharing": sharing(4)} {
		for _, initial := range []int{1, 16, 64} {
			learned := limiter.New(limiter.Options{Initial: initial})
			run(host, load{tokens: anyLength}, 2, 20000, learned)
			if got := learned.Limit(); got < 3 || got > 8 {
				t.Errorf("%s 4, from %d: limit %d, want about 4 (%s)", kind, initial, got, learned.Reason())
			}
		}
	}
}

func TestHostThatSlowsALittleWithEachCallGetsAsManyAsPay(t *testing.T) {
	learned := limiter.New(limiter.Options{})
	load := loads["answers of any length"]
	got := run(batching(), load, 2, 6000, learned) / batching().capacity()
	t.Logf("%.3f of what it can, limit %d", got, learned.Limit())
	if got < 0.8 || learned.Limit() < 12 {
		t.Errorf("got %.3f of what it can at %d calls, want 0.8", got, learned.Limit())
	}
}

func TestSomeCallsThatWaitedForAModelToLoadChangeNothing(t *testing.T) {
	for kind, host := range map[string]host{"queueing": queueing(4), "sharing": sharing(4)} {
		learned := limiter.New(limiter.Options{})
		got := run(host, load{tokens: anyLength}, 2, 6000, &loading{learned, rand.New(rand.NewPCG(1, 2))}) / host.capacity()
		t.Logf("%s: %.3f of what it can, limit %d", kind, got, learned.Limit())
		if got < 0.95 {
			t.Errorf("%s: got %.3f of what it can, want 0.95", kind, got)
		}
	}
}

// loading is a limiter that is told of every twentieth call that it took a minute more.
type loading struct {
	*limiter.Limiter
	rnd *rand.Rand
}

func (l *loading) Observe(now time.Time, s limiter.Sample) {
	if l.rnd.IntN(20) == 0 {
		s.FirstToken += time.Minute
	}
	l.Limiter.Observe(now, s)
}

func TestLimitFollowsAHostThatChanges(t *testing.T) {
	learned, load := limiter.New(limiter.Options{}), load{tokens: anyLength}
	for _, parallel := range []int{8, 2, 8} {
		host := sharing(parallel)
		got := run(host, load, 2, 6000, learned) / host.capacity()
		t.Logf("with %d processors: %.3f of what it can, limit %d", parallel, got, learned.Limit())
		if got < 0.95 || learned.Limit() > 2*parallel {
			t.Errorf("with %d processors: got %.3f of what it can at a limit of %d", parallel, got, learned.Limit())
		}
	}
}

// As with answers of some 20 ms: a call more than the host works on closes the gap between
// an answer and the next request.
func TestLimitThatDoesALittleMoreIsKeptWhereCallsAreBrief(t *testing.T) {
	l := limiter.New(limiter.Options{})
	perSecond := map[int]float64{1: 130, 2: 157, 3: 174, 4: 183, 6: 190, 8: 190, 12: 185, 16: 183}
	const calls = 5_000
	best := 0
	for range calls {
		limit := l.Limit()
		l.Observe(start, limiter.Sample{FirstToken: seconds(float64(limit) / perSecond[limit]), Backlog: true})
		if limit == 6 || limit == 8 {
			best++
		}
	}
	if part := float64(best) / calls; part < 0.7 {
		t.Errorf("the limit is 6 or 8 for %.2f of the calls, want 0.7 (%s)", part, l.Reason())
	}
}

// The rates are those of small models on two cores, which answer in some 25 and 8 ms, while
// other work makes them now faster, now slower.
func TestUpsAndDownsDoNotTakeSlotsFromBriefCalls(t *testing.T) {
	for _, test := range []struct {
		name      string
		perSecond map[int]float64
		calls     int // in which it learns
		want      float64
	}{
		{"25 ms", map[int]float64{1: 90, 2: 135, 3: 148, 4: 153, 6: 165, 8: 169, 12: 169, 16: 166, 24: 164, 32: 162, 48: 161, 64: 160}, 6_000, 0.975},
		{"8 ms", map[int]float64{1: 150, 2: 194, 3: 200, 4: 220, 6: 238, 8: 240, 12: 237, 16: 235, 24: 230, 32: 225, 48: 222, 64: 220}, 2_000, 0.96},
	} {
		best := slices.Max(slices.Collect(maps.Values(test.perSecond)))
		var sum float64
		const seeds = 100
		for seed := range uint64(seeds) {
			l, rnd := limiter.New(limiter.Options{Initial: 2}), rand.New(rand.NewPCG(seed, 1))
			var took, slower float64
			for range test.calls {
				slower += 0.02*rnd.NormFloat64() - slower/50 // with a memory of some 50 calls
				limit := l.Limit()
				each := math.Exp(slower) / test.perSecond[limit]
				took += 1 / test.perSecond[limit]
				l.Observe(start, limiter.Sample{FirstToken: seconds(float64(limit) * each * math.Exp(noise*rnd.NormFloat64())), Backlog: true})
			}
			sum += float64(test.calls) / took / best
		}
		t.Logf("%s: %.3f of the best", test.name, sum/seeds)
		if sum/seeds < test.want {
			t.Errorf("%s: got %.3f of the best, want %.3f", test.name, sum/seeds, test.want)
		}
	}
}
