package pool_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// warmPool is a pool whose hosts all have the model m in memory. All calls in these tests take a
// second, or hosts would differ in speed and the slow ones leave calls to others.
func warmPool(t *testing.T, policy string, slots int, names ...string) *pool.Pool {
	t.Helper()
	chosen, err := route.ByName(policy)
	if err != nil {
		t.Fatal(err)
	}
	var hosts []backend.Backend
	for _, name := range names {
		hosts = append(hosts, newMachine(&machine{name: name, parallel: slots, perToken: 10 * time.Millisecond}))
	}
	p := newPool(t, pool.Options{Hosts: hosts, Slots: slots, Policy: chosen})
	for _, name := range names {
		if err := askWith(t.Context(), p, route.Need{Model: "m:latest", Host: name}, 100); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// reads makes a call whose prompt begins in some ways, and returns the host that answered and why it
// was chosen.
func reads(t *testing.T, p *pool.Pool, prefixes ...uint64) (granted route.Grant) {
	t.Helper()
	need := route.Need{Model: "m:latest", Prefixes: prefixes, OnGrant: func(g route.Grant) { granted = g }}
	if err := askWith(t.Context(), p, need, 100); err != nil {
		t.Error(err)
	}
	return granted
}

func TestConversationStaysWithTheHostThatHasReadIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, "warmest", 2, "a", "b", "c")
		first, second := reads(t, p, 1).Host, reads(t, p, 2).Host
		if first == second {
			t.Fatalf("two conversations begin on %s, though hosts take turns", first)
		}
		for n := uint64(10); n < 20; n++ { // each request has one beginning more
			if got := reads(t, p, 1, n, n+1); got.Host != first || !got.Choice.IsRead {
				t.Errorf("the first conversation goes on at %+v, want %s", got, first)
			}
			if got := reads(t, p, 2, n+100, n+101); got.Host != second {
				t.Errorf("the second conversation goes on at %s, want %s", got.Host, second)
			}
		}
		if got := reads(t, p, 3); got.Choice.IsRead {
			t.Errorf("%s is said to have read what is new", got.Host)
		}
	})
}

// The longest beginning counts, wherever a shorter one was read last.
func TestLongestBeginningDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, "warmest", 2, "a", "b", "c")
		long := reads(t, p, 1, 2).Host
		other := "a"
		if long == other {
			other = "b"
		}
		if err := askWith(t.Context(), p, route.Need{Model: "m:latest", Host: other, Prefixes: []uint64{1}}, 100); err != nil {
			t.Fatal(err)
		}
		if got := reads(t, p, 1, 2, 3).Host; got != long {
			t.Errorf("got %s, want %s, which has read more of the prompt", got, long)
		}
	})
}

func TestHostThatHasReadAPromptIsNotChosenIfItIsBusierByMoreThanACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, "warmest", 10, "a", "b")
		home := reads(t, p, 1).Host
		var all sync.WaitGroup
		var got []string
		for range 10 { // at once
			got = append(got, "")
			i := len(got) - 1
			all.Go(func() { got[i] = reads(t, p, 1).Host })
			synctest.Wait()
		}
		all.Wait()
		count := map[string]int{}
		for _, h := range got {
			count[h]++
		}
		if got[0] != home || count[home] != 6 {
			t.Errorf("ten calls at once with the same beginning went to %v, want half of them and one on %s", got, home)
		}
	})
}

func TestAffinityLeavesAColdHostCold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, "warmest", 2, "a", "b")
		home := reads(t, p, 1).Host
		p.Know(home, pool.Facts{Up: true, Loaded: []pool.Loaded{}}) // unloaded the model, and with it the prompt
		if got := reads(t, p, 1); got.Host == home || got.Choice.IsRead {
			t.Errorf("got %+v, want the host that has the model in memory", got)
		}
	})
}

func TestAffinityDoesNotChangeTheTurnsOfRoundRobin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPool(t, "round-robin", 2, "a", "b", "c")
		served := map[string]int{}
		for range 30 {
			served[reads(t, p, 1).Host]++
		}
		if served["a"] != 10 || served["b"] != 10 || served["c"] != 10 {
			t.Errorf("the split is %v, want 10 each", served)
		}
	})
}

// Whatever calls come and go: a host that is given a call has at most one call more than the least
// busy one, and none more under a policy that goes by that alone.
func TestAffinityNeverOverloadsAHost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type call struct{ After, Prefix int }
		calls := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) call {
			return call{rapid.IntRange(0, 6).Draw(rt, "after"), rapid.IntRange(0, 3).Draw(rt, "prefix")}
		}), 1, 30).Draw(rt, "calls")
		policy := rapid.SampledFrom([]string{"warmest", "least-busy"}).Draw(rt, "policy")
		synctest.Test(t, func(t *testing.T) {
			p := warmPool(t, policy, 4, "a", "b", "c")
			var mu sync.Mutex
			busy := map[string]int{"a": 0, "b": 0, "c": 0}
			var all sync.WaitGroup
			for i, c := range calls {
				time.Sleep(time.Duration(c.After)*100*time.Millisecond + time.Millisecond) // no call ends as another begins
				all.Go(func() {
					need := route.Need{Model: "m:latest", Prefixes: []uint64{uint64(c.Prefix)}}
					err := p.With(t.Context(), need, func(ctx context.Context, l *pool.Lease) error {
						mu.Lock()
						mine, least := busy[l.Host.Name()], min(busy["a"], busy["b"], busy["c"])
						busy[l.Host.Name()]++
						mu.Unlock()
						if slack := map[string]int{"warmest": 1, "least-busy": 0}[policy]; mine > least+slack {
							rt.Errorf("%s: call %d goes to a host with %d calls, while another has %d", policy, i, mine, least)
						}
						err := generate(ctx, l.Host, "m:latest", 100)
						mu.Lock()
						busy[l.Host.Name()]--
						mu.Unlock()
						return err
					})
					if err != nil {
						rt.Errorf("call %d: %v", i, err)
					}
				})
				synctest.Wait()
			}
			all.Wait()
		})
	})
}

// BenchmarkTakeAndGiveBackWithAffinity has 64 hosts to choose from, all of which have read the
// prompt.
func BenchmarkTakeAndGiveBackWithAffinity(b *testing.B) {
	for _, prefixes := range []int{0, 1, 22} {
		b.Run(fmt.Sprint(prefixes, " prefixes"), func(b *testing.B) {
			var names []string
			for i := range 64 {
				names = append(names, fmt.Sprint("gpu-", i))
			}
			var hosts []backend.Backend
			for _, name := range names {
				hosts = append(hosts, newMachine(&machine{name: name, parallel: 4}))
			}
			p := newPool(b, pool.Options{Hosts: hosts, Slots: 4})
			need := route.Need{Model: "m:latest"}
			for i := range prefixes {
				need.Prefixes = append(need.Prefixes, uint64(i))
			}
			for _, need.Host = range names {
				if err := askWith(b.Context(), p, need, 1); err != nil {
					b.Fatal(err)
				}
			}
			need.Host = ""
			b.ReportAllocs()
			for b.Loop() {
				_ = p.With(b.Context(), need, func(context.Context, *pool.Lease) error { return nil })
			}
		})
	}
}
