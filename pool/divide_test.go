package pool_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestPoolUsesOnlyItsPartOfAHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: []backend.Backend{host{name: "gpu"}}, Slots: 4})
		var all sync.WaitGroup
		for range 7 {
			all.Go(func() {
				if err := p.With(t.Context(), route.Need{}, hold(10*time.Second)); err != nil {
					t.Error(err)
				}
			})
		}
		for _, c := range []struct {
			part          int // -1 for all
			after         time.Duration
			busy, waiting int
		}{{-1, 0, 4, 3}, {1, 0, 4, 3}, {1, 10 * time.Second, 1, 2}, {0, 10 * time.Second, 0, 2}, {2, 0, 2, 0}} {
			if c.part >= 0 {
				p.Divide(map[string]pool.Part{"gpu": {Slots: c.part}})
			}
			time.Sleep(c.after)
			synctest.Wait()
			claim, s := p.Claims()[0], p.Stats()
			if s.Hosts[0].Busy != c.busy || s.Queue.Waiting != c.waiting || claim.Slots != 4 || claim.Calls() != c.busy || claim.Waits != float64(c.waiting) {
				t.Errorf("with a part of %d: %d calls on the host and %d in the queue, want %d and %d; it claims %+v", c.part, s.Hosts[0].Busy, s.Queue.Waiting, c.busy, c.waiting, claim)
			}
		}
		all.Wait()
		p.Divide(nil)
		if s := p.Stats().Hosts[0]; s.Slots != 4 {
			t.Errorf("with nobody else there are %d slots", s.Slots)
		}
	})
}

// However often a host is resized and divided, it gets no call beyond its slots and the part of
// the pool, and in the end every slot is back.
func TestNoSlotIsLostWhenHostsAreResizedAndDivided(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type step struct{ After, Slots, Part int }
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{rapid.IntRange(0, 3).Draw(rt, "after"), rapid.IntRange(1, 5).Draw(rt, "slots"), rapid.IntRange(-1, 6).Draw(rt, "part")}
		}), 1, 30).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Hosts: []backend.Backend{host{name: "gpu"}}, Slots: 2})
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					if err := p.With(t.Context(), route.Need{}, hold(3*time.Second)); err != nil {
						rt.Error(err)
					}
				})
			}
			for _, s := range steps {
				synctest.Wait()
				before := p.Stats().Hosts[0].Busy
				room := s.Slots
				parts := make(map[string]pool.Part)
				if s.Part >= 0 {
					parts["gpu"], room = pool.Part{Slots: s.Part}, min(s.Slots, s.Part)
				}
				if err := p.Resize("gpu", pool.Slots{Given: s.Slots}); err != nil {
					rt.Error(err)
				}
				p.Divide(parts)
				synctest.Wait()
				// Resize may have let some in before the part was known.
				if busy := p.Stats().Hosts[0].Busy; busy > max(before, room, s.Slots) {
					rt.Fatalf("%d calls are on a host with room for %d", busy, room)
				}
				time.Sleep(time.Duration(s.After)*time.Second + time.Second)
				synctest.Wait()
				if s.After == 3 {
					if busy := p.Stats().Hosts[0].Busy; busy > room {
						rt.Fatalf("%d calls are on a host with room for %d, 4 s later", busy, room)
					}
				}
			}
			p.Divide(nil)
			all.Wait()
			last := steps[len(steps)-1].Slots
			for range 9 {
				all.Go(func() {
					if err := p.With(t.Context(), route.Need{}, hold(time.Second)); err != nil {
						rt.Error(err)
					}
				})
			}
			synctest.Wait()
			if busy := p.Stats().Hosts[0].Busy; busy != last {
				rt.Errorf("%d calls are on the host in the end, want %d", busy, last)
			}
			all.Wait()
		})
	})
}

func TestCallsOfOtherPoolsTakeLearnedSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(good("gpu"))
		p := newPool(t, pool.Options{Hosts: backends})
		if err := ask(t.Context(), p, "m:latest", 1); err != nil {
			t.Fatal(err)
		}
		divide := func(elsewhere, learned int) {
			p.Divide(map[string]pool.Part{"gpu": {Slots: 64, Elsewhere: map[string]int{"m:latest": elsewhere}, Learned: map[string]int{"m:latest": learned}}})
		}
		divide(2, 2)
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				if err := p.With(t.Context(), route.Need{Model: "m:latest"}, hold(10*time.Second)); err != nil {
					t.Error(err)
				}
			})
		}
		for _, c := range []struct{ elsewhere, learned, busy int }{{2, 2, 0}, {1, 2, 1}, {1, 5, 4}} {
			divide(c.elsewhere, c.learned)
			synctest.Wait()
			if busy := p.Stats().Hosts[0].Busy; busy != c.busy {
				t.Errorf("with %d calls elsewhere, and %d slots learned there: %d calls are on the host, want %d", c.elsewhere, c.learned, busy, c.busy)
			}
		}
		if got := p.Claims()[0]; got.Learned["m:latest"] != 5 || got.Busy["m:latest"] != 4 || got.Slots != 5 {
			t.Errorf("the pool claims %+v", got)
		}
		divide(0, 0)
		all.Wait()
	})
}

func TestHostThatAnotherPoolFindsIllIsTheLastChoiceUnlessItAnswersHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: []backend.Backend{host{name: "a"}, host{name: "b"}}, Slots: 2})
		at := func() (name string) {
			err := p.With(t.Context(), route.Need{}, func(_ context.Context, l *pool.Lease) error {
				name = l.Host.Name()
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			return name
		}
		hear := func() {
			p.Divide(map[string]pool.Part{"a": {Slots: 2, Ill: "ejected"}, "b": {Slots: 2}})
		}
		uses := func() (n int) {
			for range 10 {
				if at() == "a" {
					n++
				}
			}
			return n
		}
		for range 20 {
			hear()
			time.Sleep(time.Second)
		}
		if n := uses(); n != 0 {
			t.Errorf("a host that is ill has %d of 10 calls, beside one that is well", n)
		}
		p.Divide(map[string]pool.Part{"a": {Slots: 2, Ill: "ejected"}, "b": {}}) // so that a has the next call
		if got := at(); got != "a" {
			t.Errorf("the only host with a slot is not used, but %q", got)
		}
		hear()
		if n := uses(); n == 0 {
			t.Error("a host that has just answered is not used, since another server says that it is ill")
		}
	})
}

// hears has a pool hear what another one tells of all hosts, of each of which it has so many slots.
func hears(p, other *pool.Pool, slots map[string]int) {
	parts := make(map[string]pool.Part)
	for _, c := range other.Claims() {
		parts[c.Host] = pool.Part{Slots: slots[c.Host], Loading: c.Loading, Loaded: c.Loaded}
	}
	p.Divide(parts)
}

// twoPools share two cold machines, of which each pool prefers another one.
func twoPools(t *testing.T) (hosts []*machine, a, b *pool.Pool) {
	hosts, backends := machines(coldMachine("gpu-1", 1), coldMachine("gpu-2", 1))
	a = newPool(t, pool.Options{Hosts: backends, Slots: 2})
	b = newPool(t, pool.Options{Hosts: []backend.Backend{backends[1], backends[0]}, Slots: 2})
	return hosts, a, b
}

func TestModelThatAnotherPoolHasAHostLoadIsNotLoadedOnASecondHost(t *testing.T) {
	both := map[string]int{"gpu-1": 2, "gpu-2": 2}
	for _, c := range []struct {
		name    string
		after   time.Duration // of which the second call comes
		hears   bool
		loads   int
		ownLoad bool // the second call needs another context
	}{
		{"while it loads", 30 * time.Second, true, 1, false},
		{"while it loads, untold", 30 * time.Second, false, 2, false},
		{"with other options", 30 * time.Second, true, 2, true},
		{"once it is loaded", 61 * time.Second, true, 1, false},
		{"once it is loaded, untold", 61 * time.Second, false, 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts, a, b := twoPools(t)
				var all sync.WaitGroup
				all.Go(func() {
					if err := ask(t.Context(), a, "m:latest", 1); err != nil {
						t.Error(err)
					}
				})
				time.Sleep(c.after)
				if c.hears {
					hears(b, a, both)
				}
				need := route.Need{Model: "m:latest"}
				if c.ownLoad {
					need.Runner = map[string]any{"num_ctx": 8192.0}
				}
				began := time.Now()
				err := b.With(t.Context(), need, func(ctx context.Context, l *pool.Lease) error {
					return generate(ctx, l.Host, "m:latest", 1)
				})
				if err != nil {
					t.Error(err)
				}
				if loads := hosts[0].loads + hosts[1].loads; loads != c.loads {
					t.Errorf("%d loads, want %d; the second call took %v", loads, c.loads, time.Since(began))
				}
				all.Wait()
			})
		})
	}
}

// askAt has a model answer on one host.
func askAt(t *testing.T, p *pool.Pool, host, model string) {
	err := p.With(t.Context(), route.Need{Model: model, Host: host}, func(ctx context.Context, l *pool.Lease) error {
		return generate(ctx, l.Host, model, 1)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestHostThatLoadsForAnotherPoolIsGivenNoSecondModelToLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, a, b := twoPools(t)
		var all sync.WaitGroup
		all.Go(func() { askAt(t, a, "gpu-2", "m:latest") })
		time.Sleep(30 * time.Second)
		hears(b, a, map[string]int{"gpu-1": 2, "gpu-2": 2})
		if err := ask(t.Context(), b, "other:latest", 1); err != nil {
			t.Error(err)
		}
		all.Wait()
		if hosts[0].loads != 1 || hosts[1].loads != 1 {
			t.Errorf("%d and %d loads, want one on each host", hosts[0].loads, hosts[1].loads)
		}
	})
}

// The pool has no slot of the host that loads, and knows how long that takes from the other pool only.
func TestCallWaitsForALoadOfAnotherPoolThatIsAlmostDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, a, b := twoPools(t)
		if err := ask(t.Context(), a, "m:latest", 1); err != nil {
			t.Fatal(err)
		}
		hosts[0].loaded = nil
		a.Know("gpu-1", pool.Facts{Up: true, Loaded: []pool.Loaded{}})
		var all sync.WaitGroup
		all.Go(func() { askAt(t, a, "gpu-1", "m:latest") })
		time.Sleep(55 * time.Second)
		hears(b, a, map[string]int{"gpu-2": 2})
		began := time.Now()
		all.Go(func() {
			if err := ask(t.Context(), b, "m:latest", 1); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v, and the model was in memory after 5s", took)
			}
		})
		time.Sleep(6 * time.Second)
		hears(b, a, map[string]int{"gpu-1": 1, "gpu-2": 1})
		all.Wait()
		if hosts[0].loads != 2 || hosts[1].loads != 0 {
			t.Errorf("%d and %d loads, want the two of the first pool", hosts[0].loads, hosts[1].loads)
		}
	})
}

func TestNewsOfALoadDoNotUndoWhatAPoolHasSeenSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := twoPools(t)
		if err := ask(t.Context(), a, "m:latest", 1); err != nil {
			t.Fatal(err)
		}
		b.Know("gpu-1", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "other:latest"}}})
		time.Sleep(time.Second)
		hears(b, a, map[string]int{"gpu-1": 2, "gpu-2": 2})
		for _, h := range b.Stats().Hosts {
			if h.Name == "gpu-1" && (len(h.Loaded) != 1 || h.Loaded[0] != "other:latest") {
				t.Errorf("the models %v are said to be loaded, and a check has just found another", h.Loaded)
			}
		}
		time.Sleep(time.Minute)
		if c := a.Claims()[0]; len(c.Loading) != 0 || len(c.Loaded) != 0 {
			t.Errorf("a minute later the pool still tells of it: %+v", c)
		}
	})
}

func TestPoolTellsThatItIsShortOfSlotsAndWhereItWantsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		machine := func(name string, perToken time.Duration) *machine {
			return &machine{name: name, parallel: 2, perToken: perToken, load: time.Second}
		}
		_, backends := machines(machine("without", time.Millisecond), machine("cold", time.Millisecond), machine("slow", 40*time.Millisecond), machine("fast", 10*time.Millisecond))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 2})
		p.Know("without", pool.Facts{Up: true, Installed: []string{"other:latest"}})
		for _, name := range []string{"slow", "fast"} {
			err := p.With(t.Context(), route.Need{Model: "m:latest", Host: name}, func(ctx context.Context, l *pool.Lease) error {
				return generate(ctx, l.Host, "m:latest", 100)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		isShort := func() bool {
			select {
			case <-p.Short():
				return true
			default:
				return false
			}
		}
		p.Divide(map[string]pool.Part{"without": {}, "cold": {}, "slow": {}, "fast": {}})
		if isShort() {
			t.Error("the pool is short of slots though no call waits")
		}
		var calls sync.WaitGroup
		for range 6 {
			calls.Go(func() {
				if err := ask(t.Context(), p, "m:latest", 100); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if !isShort() {
			t.Error("the pool is not short of slots though calls wait")
		}
		var got []string
		for _, c := range p.Claims() {
			got = append(got, fmt.Sprint(c.Host, " ", c.Waits, " ", c.Loads))
		}
		if want := []string{"fast 2 false", "slow 2 false", "cold 2 true", "without 0 false"}; !slices.Equal(got, want) {
			t.Errorf("the pool claims %q, want %q", got, want)
		}
		p.Divide(nil)
		calls.Wait()
	})
}

// TestHostThatHasReadThePromptOfACallIsClaimedFirst has a call wait after prompts were read on all hosts.
func TestHostThatHasReadThePromptOfACallIsClaimedFirst(t *testing.T) {
	for i, name := range []string{"a", "b", "c"} {
		synctest.Test(t, func(t *testing.T) {
			p := warmPool(t, "warmest", 2, "a", "b", "c")
			for i, name := range []string{"a", "b", "c"} {
				if err := askWith(t.Context(), p, route.Need{Model: "m:latest", Host: name, Prefixes: []uint64{uint64(i)}}, 100); err != nil {
					t.Fatal(err)
				}
			}
			p.Divide(map[string]pool.Part{"a": {}, "b": {}, "c": {}})
			ctx, cancel := context.WithCancel(t.Context())
			var call sync.WaitGroup
			call.Go(func() { _ = askWith(ctx, p, route.Need{Model: "m:latest", Prefixes: []uint64{uint64(i)}}, 100) })
			synctest.Wait()
			if c := p.Claims()[0]; c.Host != name || c.Waits == 0 {
				t.Errorf("%s is claimed first, for %.1f calls; want %s", c.Host, c.Waits, name)
			}
			cancel()
			call.Wait()
		})
	}
}
