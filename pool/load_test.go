package pool_test

import (
	"context"
	"errors"
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

// ask has a model answer with so many tokens.
func ask(ctx context.Context, p *pool.Pool, model string, tokens int) error {
	return p.With(ctx, route.Need{Model: model}, func(ctx context.Context, l *pool.Lease) error {
		return generate(ctx, l.Host, model, tokens)
	})
}

func generate(ctx context.Context, host backend.Backend, model string, tokens int) error {
	_, err := host.Generate(ctx, &backend.GenerateRequest{Model: model, Prompt: strings.Repeat("x", tokens)}, nil)
	return err
}

// coldMachine takes a minute to load a model.
func coldMachine(name string, holds int) *machine {
	return &machine{name: name, parallel: 4, perToken: 10 * time.Millisecond, load: time.Minute, holds: holds}
}

func TestModelThatIsBeingLoadedTakesOneSlotAndOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(coldMachine("gpu", 2))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 4})
		if err := ask(t.Context(), p, "warm:latest", 100); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				if err := ask(t.Context(), p, "cold:latest", 100); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second)
		p.Know("gpu", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "warm:latest"}, {Model: "cold:latest"}}})
		if s := p.Stats(); s.InFlight != 1 || s.Queue.Waiting != 5 {
			t.Errorf("%d calls of the cold model have slots and %d wait, want 1 and 5", s.InFlight, s.Queue.Waiting)
		}
		for range 30 {
			began := time.Now()
			if err := ask(t.Context(), p, "warm:latest", 100); err != nil || time.Since(began) != time.Second {
				t.Errorf("a call of the loaded model: %v after %v, want an answer after 1s", err, time.Since(began))
			}
		}
		time.Sleep(29500 * time.Millisecond) // half a second after
		if s := p.Stats(); s.InFlight != 4 || s.Queue.Waiting != 2 {
			t.Errorf("once it is loaded %d have slots and %d wait, want 4 and 2", s.InFlight, s.Queue.Waiting)
		}
		all.Wait()
	})
}

func TestWaitForAModelThatIsBeingLoadedIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(coldMachine("gpu", 2))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 2})
		if err := ask(t.Context(), p, "warm:latest", 1); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		waits := func(model string) (standing func() route.Standing) {
			all.Go(func() {
				need := route.Need{Model: model, OnWait: func(_ route.Standing, later func() route.Standing) { standing = later }}
				if err := p.With(t.Context(), need, func(ctx context.Context, l *pool.Lease) error {
					return generate(ctx, l.Host, model, 30_000)
				}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			return standing
		}
		if s := waits("cold:latest"); s != nil {
			t.Fatal("the first call does not get a slot")
		}
		cold := waits("cold:latest")
		if got := cold(); !got.Loading || got.Place != 1 {
			t.Errorf("while its model is loaded: got %+v, want so for the first in the queue", got)
		}
		_ = waits("warm:latest") // takes the other slot
		if got := waits("warm:latest")(); got.Loading {
			t.Errorf("a call of a model that is in memory: got %+v, want no loading", got)
		}
		time.Sleep(2 * time.Minute)
		if got := cold(); got.Loading {
			t.Errorf("once its model is there: got %+v, want no loading", got)
		}
		all.Wait()
	})
}

func TestAnotherHostLoadsTheModelUnlessThatWouldTakeLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, backends := machines(coldMachine("gpu-1", 1), coldMachine("gpu-2", 1))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 4})
		together := func(pauses ...time.Duration) {
			var all sync.WaitGroup
			for _, pause := range pauses {
				time.Sleep(pause)
				all.Go(func() {
					if err := ask(t.Context(), p, "m:latest", 100); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
		}
		together(0, 0, 0)
		if hosts[0].loads != 1 || hosts[1].loads != 1 {
			t.Errorf("%d and %d loads, want one on each host", hosts[0].loads, hosts[1].loads)
		}
		for _, h := range hosts {
			p.Know(h.name, pool.Facts{Up: true, Loaded: []pool.Loaded{}})
			h.loaded = nil
		}
		together(0, 55*time.Second) // the second is served in 5 s where it is being loaded
		if loads := hosts[0].loads + hosts[1].loads; loads != 3 {
			t.Errorf("%d loads more, want one", loads-2)
		}
	})
}

func TestModelIsNotTakenForLoadedByACallThatEndedBeforeItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(coldMachine("gpu", 1))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 4})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := ask(ctx, p, "m:latest", 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want that its time was over", err)
		}
		if loaded := p.Stats().Hosts[0].Loaded; len(loaded) > 0 {
			t.Errorf("%v is said to be loaded", loaded)
		}
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := ask(t.Context(), p, "m:latest", 1); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second)
		if s := p.Stats(); s.InFlight != 1 || s.Queue.Waiting != 2 {
			t.Errorf("%d calls have slots and %d wait, want 1 and 2", s.InFlight, s.Queue.Waiting)
		}
		all.Wait()
		if loaded := p.Stats().Hosts[0].Loaded; !slices.Equal(loaded, []string{"m:latest"}) {
			t.Errorf("%v is said to be loaded, want m:latest", loaded)
		}
	})
}

func TestCallsWaitForALoadThatOutlivesItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, backends := machines(coldMachine("gpu", 1))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 4})
		var host backend.Backend
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_ = p.With(ctx, route.Need{Model: "m:latest"}, func(ctx context.Context, l *pool.Lease) error {
			host = l.Host
			return generate(ctx, host, "m:latest", 1)
		})
		var all sync.WaitGroup
		for _, broken := range []bool{true, false} {
			if broken {
				hosts[0].fails = func(time.Time) *fault { return &fault{after: 10 * time.Second, class: backend.Server} }
			}
			all.Go(func() { _ = generate(t.Context(), host, "m:latest", 1) })
			synctest.Wait()
			hosts[0].fails = nil
			began := time.Now()
			time.AfterFunc(time.Second, func() {
				if s := p.Stats(); s.InFlight != 0 || s.Queue.Waiting != 1 {
					t.Errorf("%d calls have slots and %d wait, want 0 and 1", s.InFlight, s.Queue.Waiting)
				}
			})
			if err := ask(t.Context(), p, "m:latest", 1); err != nil {
				t.Error(err)
			}
			if broken { // then this call had to load it, from when that had failed
				if took := time.Since(began); took != 10*time.Second+time.Minute+10*time.Millisecond {
					t.Errorf("after a load that failed it took %v", took)
				}
				hosts[0].loaded = nil
				p.Know("gpu", pool.Facts{Up: true, Loaded: []pool.Loaded{}})
			} else if took := time.Since(began); took != time.Minute+20*time.Millisecond {
				t.Errorf("after a load that went well it took %v", took)
			}
			all.Wait()
		}
	})
}

func TestCallsWhoseTimeIsOverDuringAColdStartCountNotAgainstTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(&machine{name: "gpu", parallel: 1, perToken: time.Millisecond, load: 10 * time.Minute})
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 55*time.Second)
			if err := ask(ctx, p, "m:latest", 1); !errors.Is(err, backend.Caller) {
				t.Errorf("got %v, want that its time was over", err)
			}
			cancel()
		}
		if h := p.Stats().Hosts[0]; h.Breaker != "closed" || !h.Well || h.Why != "" {
			t.Errorf("a host that loads for minutes is said to be %s: %q", h.Breaker, h.Why)
		}
	})
}

func TestLoadWithoutEndIsAFailureInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := coldMachine("stuck", 0)
		stuck.load = 24 * time.Hour
		_, backends := machines(stuck, &machine{name: "well", parallel: 4, perToken: 10 * time.Millisecond})
		p := newPool(t, pool.Options{Hosts: backends, Slots: 4})
		calls := poisson(10_000, 1, 100, 8) // almost three hours of them
		for i := range calls {
			calls[i].patience = 55 * time.Second
		}
		lost := failures(simulate(t, p, calls))
		s := p.Stats().Hosts[0]
		t.Logf("%d of %d calls were lost on a host that never gets a model loaded: %s", lost, len(calls), s.Why)
		if s.Breaker == "closed" || !strings.Contains(s.Why, "no token in 55s") {
			t.Errorf("in the end the host is %s (%s)", s.Breaker, s.Why)
		}
		if lost > len(calls)/100 {
			t.Errorf("%d of %d calls were lost", lost, len(calls))
		}
	})
}

// A host does not change models in use for a call that another host loads its model for,
// until that has taken longer than usual.
func TestCallThatIsPassedOverWaitsForALoadElsewhereNoLongerThanLoadsTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, backends := machines(coldMachine("gpu-1", 1), coldMachine("gpu-2", 1))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 2})
		var all sync.WaitGroup
		call := func(model, host string, tokens int) {
			err := p.With(t.Context(), route.Need{Model: model, Host: host}, func(ctx context.Context, l *pool.Lease) error {
				return generate(ctx, l.Host, model, tokens)
			})
			if err != nil {
				t.Error(err)
			}
		}
		for _, model := range []string{"m:latest", "n:latest", "m:latest"} { // so that it is known that they have no room beside each other
			call(model, "gpu-1", 1)
		}
		all.Go(func() { call("m:latest", "gpu-1", 30_000) }) // five minutes
		hosts[1].load = 3 * time.Minute
		all.Go(func() { call("n:latest", "gpu-2", 1) })
		synctest.Wait()
		all.Go(func() { call("n:latest", "", 1) })
		for _, c := range []struct {
			after time.Duration
			busy  int
		}{{59 * time.Second, 1}, {time.Second, 2}} {
			time.Sleep(c.after)
			synctest.Wait()
			if busy := p.Stats().Hosts[0].Busy; busy != c.busy {
				t.Errorf("%v later %d calls are on the host that has the other model, want %d", c.after, busy, c.busy)
			}
		}
		all.Wait()
	})
}

func TestLoadWithoutEndHoldsNoCallThatAnotherHostCouldServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, backends := machines(coldMachine("stuck", 1), coldMachine("well", 1))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 4})
		if err := ask(t.Context(), p, "m:latest", 100); err != nil { // so that it is known how long a load takes
			t.Fatal(err)
		}
		for _, h := range hosts {
			p.Know(h.name, pool.Facts{Up: true, Loaded: []pool.Loaded{}})
			h.loaded = nil
		}
		hosts[0].load = 24 * time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		var stuck sync.WaitGroup
		stuck.Go(func() {
			_ = p.With(ctx, route.Need{Model: "m:latest", Host: "stuck"}, func(ctx context.Context, l *pool.Lease) error {
				return generate(ctx, l.Host, "m:latest", 1)
			})
		})
		for i, most := range []time.Duration{75 * time.Second, time.Second, time.Second} {
			time.Sleep(50 * time.Second) // when the stuck one should be done soon, and later
			began := time.Now()
			if err := ask(t.Context(), p, "m:latest", 100); err != nil || time.Since(began) > most {
				t.Errorf("call %d: %v after %v, want an answer in %v", i, err, time.Since(began), most)
			}
		}
		cancel()
		stuck.Wait()
	})
}
