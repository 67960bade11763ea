package pool_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// split has callers make 1200 calls of one model on three hosts of some weights, and returns
// how many each host was given.
func split(t *testing.T, policy string, weights []float64, ms []*machine, callers int) (calls [3]int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p, err := route.ByName(policy)
		if err != nil {
			t.Fatal(err)
		}
		hosts := newPool(t, pool.Options{Hosts: []backend.Backend{}, Policy: p})
		for i, m := range ms {
			if _, err := hosts.Add(newMachine(m), pool.Slots{Given: 8, Weight: weights[i]}); err != nil {
				t.Fatal(err)
			}
		}
		var next atomic.Int64
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for next.Add(1) <= 1200 {
					err := hosts.With(t.Context(), route.Need{Model: "m:latest"}, func(ctx context.Context, l *pool.Lease) error {
						return generate(ctx, l.Host, "m:latest", 100)
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		for i, m := range ms {
			calls[i] = m.calls
		}
	})
	return calls
}

func TestPolicyIsSeenInTheSplitOfCalls(t *testing.T) {
	equal := func() []*machine {
		return []*machine{{name: "a", perToken: 10 * time.Millisecond, parallel: 8}, {name: "b", perToken: 10 * time.Millisecond, parallel: 8}, {name: "c", perToken: 10 * time.Millisecond, parallel: 8}}
	}
	// c is four times slower, and has to load the model.
	unequal := func() []*machine {
		ms := equal()
		ms[2].perToken, ms[2].load = 40*time.Millisecond, 5*time.Second
		return ms
	}
	same, double := []float64{0, 0, 0}, []float64{2, 1, 1}
	for _, c := range []struct {
		policy   string
		hosts    func() []*machine
		weights  []float64
		callers  int
		from, to [3]int // calls of each host
	}{
		{"round-robin", equal, same, 1, [3]int{400, 400, 400}, [3]int{400, 400, 400}},
		{"round-robin", equal, same, 6, [3]int{398, 398, 398}, [3]int{402, 402, 402}},
		{"round-robin", equal, double, 1, [3]int{600, 300, 300}, [3]int{600, 300, 300}},
		{"round-robin", equal, double, 6, [3]int{590, 295, 295}, [3]int{610, 305, 305}},
		{"round-robin", unequal, same, 1, [3]int{400, 400, 400}, [3]int{400, 400, 400}},
		{"round-robin", unequal, double, 6, [3]int{590, 290, 290}, [3]int{620, 310, 310}},

		{"least-busy", equal, same, 1, [3]int{400, 400, 400}, [3]int{400, 400, 400}},
		{"least-busy", equal, same, 6, [3]int{390, 390, 390}, [3]int{410, 410, 410}},
		{"least-busy", equal, double, 8, [3]int{580, 290, 290}, [3]int{620, 310, 310}},
		{"least-busy", unequal, same, 9, [3]int{500, 500, 120}, [3]int{550, 550, 160}}, // as many at once on each

		{"fastest", equal, same, 6, [3]int{380, 380, 380}, [3]int{420, 420, 420}},
		{"fastest", equal, double, 8, [3]int{570, 280, 280}, [3]int{640, 320, 320}},
		{"fastest", unequal, same, 6, [3]int{550, 550, 1}, [3]int{640, 640, 100}},
		{"fastest", unequal, same, 1, [3]int{550, 550, 1}, [3]int{640, 640, 100}},

		{"warmest", equal, same, 6, [3]int{390, 390, 390}, [3]int{410, 410, 410}},
		{"warmest", equal, double, 8, [3]int{580, 290, 290}, [3]int{620, 310, 310}},
		{"warmest", unequal, same, 6, [3]int{590, 590, 0}, [3]int{600, 600, 10}}, // two hold the model, and have slots
	} {
		got := split(t, c.policy, c.weights, c.hosts(), c.callers)
		for i := range got {
			if got[i] < c.from[i] || got[i] > c.to[i] {
				t.Errorf("%s: %d callers, weights %v, slow and cold: %v: the split is %v, want %v to %v",
					c.policy, c.callers, c.weights, fmt.Sprint(c.hosts()[2].load > 0), got, c.from, c.to)
				break
			}
		}
	}
}

// One that comes back is not given all the calls that it has missed.
func TestHostThatWasAwayTakesItsTurnsFromThenOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy, _ := route.ByName("round-robin")
		p := newPool(t, pool.Options{Hosts: named("a", "b"), Policy: policy})
		served := make(map[string]int)
		ask := func(n int) {
			for range n {
				if err := p.With(t.Context(), route.Need{}, func(_ context.Context, l *pool.Lease) error { served[l.Host.Name()]++; return nil }); err != nil {
					t.Fatal(err)
				}
			}
		}
		p.Know("b", pool.Facts{})
		ask(100)
		p.Know("b", pool.Facts{Up: true})
		clear(served)
		ask(100)
		if served["a"] != 50 || served["b"] != 50 {
			t.Errorf("after b was away for a hundred calls: %v, want 50 each", served)
		}
	})
}

func TestWeightThatIsNoneIsRefused(t *testing.T) {
	p := newPool(t, pool.Options{})
	if _, err := p.Add(host{name: "gpu-2"}, pool.Slots{Weight: -1}); err == nil {
		t.Error("a weight of -1 is accepted")
	}
}
