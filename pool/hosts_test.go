package pool_test

import (
	"context"
	"errors"
	"fmt"
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

func TestRemovedHostEndsWhatItHasAndTakesNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 1})
		var all sync.WaitGroup
		all.Go(func() {
			if err := p.With(t.Context(), route.Need{Host: "gpu-1"}, hold(10*time.Second)); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() { // waits for gpu-1 alone
			time.Sleep(time.Second)
			if err := p.With(t.Context(), route.Need{Host: "gpu-1"}, hold(0)); !errors.Is(err, pool.ErrNoHost) {
				t.Errorf("got %v, want ErrNoHost for one whose host has gone", err)
			}
		})
		time.Sleep(5 * time.Second)
		began := time.Now()
		drained := p.Remove("gpu-1")
		var asked []string
		for range 3 {
			if err := p.With(t.Context(), route.Need{}, onHosts(&asked, nil)); err != nil {
				t.Error(err)
			}
		}
		if slices.Contains(asked, "gpu-1") || len(p.Hosts()) != 1 {
			t.Errorf("asked %v of %d hosts after gpu-1 was removed", asked, len(p.Hosts()))
		}
		<-drained
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("drained after %v, want 5s", took)
		}
		<-p.Remove("gpu-2") // idle
		<-p.Remove("gpu-2") // gone
		all.Wait()
	})
}

func TestHostThatIsAddedTakesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1})
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { _ = p.With(t.Context(), route.Need{}, hold(10*time.Second)) })
		}
		time.Sleep(time.Second)
		if _, err := p.Add(host{name: "gpu-2"}, pool.Slots{Given: 1}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		all.Wait()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("both were done after %v, want 10s", took)
		}
		if _, err := p.Add(host{name: "gpu-3"}, pool.Slots{Given: -1}); err == nil {
			t.Error("a negative number of slots was accepted")
		}
	})
}

func TestHostThatIsReplacedLeavesNobodyWithoutOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1})
		var all sync.WaitGroup
		for range 2 { // the second waits for a host of this name
			all.Go(func() {
				if err := p.With(t.Context(), route.Need{Host: "gpu-1"}, hold(10*time.Second)); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second)
		began := time.Now()
		replaced, err := p.Add(host{name: "gpu-1"}, pool.Slots{Given: 1})
		if err != nil {
			t.Fatal(err)
		}
		<-replaced
		if took := time.Since(began); took != 9*time.Second {
			t.Errorf("the old one was drained after %v, want 9s", took)
		}
		all.Wait()
		if took := time.Since(began); took != 10*time.Second || len(p.Hosts()) != 1 {
			t.Errorf("the one who waited was done after %v on %d hosts, want 10s on one", took, len(p.Hosts()))
		}
	})
}

func TestLastHostIsNeverShutOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1, Retries: -1})
		broken := map[string]error{"gpu-1": failure(backend.Transport, "connection refused")}
		for i := range 50 {
			var asked []string
			if err := p.With(t.Context(), route.Need{}, onHosts(&asked, broken)); !errors.Is(err, backend.Transport) || len(asked) != 1 {
				t.Fatalf("call %d: got %v from %v", i, err, asked)
			}
		}
		p.Know("gpu-1", pool.Facts{Err: errors.New("connection refused")})
		if err := p.With(t.Context(), route.Need{}, hold(0)); err != nil {
			t.Errorf("when it is back: %v", err)
		}
	})
}

// failsOn has a host fail a number of calls.
func failsOn(t *testing.T, p *pool.Pool, host string, calls int, err error) {
	t.Helper()
	for range calls {
		got := p.With(t.Context(), route.Need{Host: host}, func(context.Context, *pool.Lease) error { return err })
		if !errors.Is(got, err) {
			t.Fatalf("%s: got %v, want %v", host, got, err)
		}
	}
}

func TestCallThatWaitsIsGivenAHostAsSoonAsItsRestIsOver(t *testing.T) {
	broken := failure(backend.Server, "broken")
	busy := func(after time.Duration) error { return &backend.Error{Class: backend.Overload, RetryAfter: after} }
	for name, c := range map[string]struct {
		calls       int
		err         error
		check       bool // finds the host well after a second
		least, most time.Duration
	}{
		"that it asked for":           {1, busy(20 * time.Second), false, 20 * time.Second, 20 * time.Second},
		"that it asked for, for long": {1, busy(24 * time.Hour), false, time.Hour, time.Hour},
		"after failures":              {5, broken, false, 8 * time.Second, 12 * time.Second},
		"that a check has ended":      {5, broken, true, time.Second, time.Second},
		"that no check can end":       {1, busy(20 * time.Second), true, 20 * time.Second, 20 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Hosts: named("rests", "busy"), Slots: 1, Retries: -1})
			failsOn(t, p, "rests", c.calls, c.err)
			var all sync.WaitGroup
			all.Go(func() { _ = p.With(t.Context(), route.Need{Host: "busy"}, hold(2*time.Hour)) })
			synctest.Wait()
			if c.check {
				time.AfterFunc(time.Second, func() { p.Know("rests", pool.Facts{Up: true}) })
			}
			began := time.Now()
			if err := p.With(t.Context(), route.Need{}, hold(0)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if waited := time.Since(began); waited < c.least || waited > c.most {
				t.Errorf("%s: waited %v, want %v to %v", name, waited, c.least, c.most)
			}
			all.Wait()
		})
	}
}

func TestHostsThatFailAreAskedWhenMostDo(t *testing.T) {
	for name, c := range map[string]struct {
		class backend.Class
		fail  int // of four
		asked bool
	}{
		"half of them":                     {backend.Server, 2, false},
		"more than half":                   {backend.Server, 3, true},
		"more than half, and none answers": {backend.Transport, 3, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			hosts := []string{"gpu-1", "gpu-2", "gpu-3", "gpu-4"}
			p := newPool(t, pool.Options{Hosts: named(hosts...), Slots: 1, Retries: -1})
			for _, host := range hosts[:c.fail] {
				failsOn(t, p, host, 5, failure(c.class, "broken"))
			}
			var all sync.WaitGroup
			for _, host := range hosts[c.fail:] {
				all.Go(func() { _ = p.With(t.Context(), route.Need{Host: host}, hold(time.Second)) })
			}
			synctest.Wait()
			began := time.Now()
			if err := p.With(t.Context(), route.Need{}, hold(0)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if asked := time.Since(began) == 0; asked != c.asked {
				t.Errorf("%s: a host that fails was asked: %v, want %v", name, asked, c.asked)
			}
			all.Wait()
		})
	}
}

func TestHostThatFailedIsAskedLastForAWhile(t *testing.T) {
	for _, c := range []struct {
		policy string
		later  time.Duration
		asked  bool
	}{
		{"round-robin", 5 * time.Second, false}, // whatever the policy
		{"round-robin", 15 * time.Second, true},
		{"fastest", 15 * time.Second, false}, // to which a failure is a long call
	} {
		synctest.Test(t, func(t *testing.T) {
			policy, err := route.ByName(c.policy)
			if err != nil {
				t.Fatal(err)
			}
			p := newPool(t, pool.Options{Hosts: named("fails", "well"), Slots: 1, Policy: policy, Retries: -1})
			failsOn(t, p, "fails", 1, failure(backend.Server, "broken"))
			time.Sleep(c.later - time.Second)
			if err := p.With(t.Context(), route.Need{Host: "well"}, hold(time.Second)); err != nil {
				t.Fatal(err)
			}
			var asked []string
			for range 2 {
				if err := p.With(t.Context(), route.Need{}, onHosts(&asked, nil)); err != nil {
					t.Fatal(err)
				}
			}
			if slices.Contains(asked, "fails") != c.asked {
				t.Errorf("%s: after %v asked %v", c.policy, c.later, asked)
			}
		})
	}
}

func TestHostThatIsDownIsAskedWhenACheckFindsItUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 1})
		p.Know("gpu-1", pool.Facts{Err: errors.New("connection refused")})
		ask := func() (asked []string) {
			for range 3 {
				if err := p.With(t.Context(), route.Need{}, onHosts(&asked, nil)); err != nil {
					t.Error(err)
				}
			}
			return asked
		}
		if asked := ask(); slices.Contains(asked, "gpu-1") {
			t.Errorf("while it is down: asked %v", asked)
		}
		if why := p.Stats().Hosts[0].Why; why != "connection refused" {
			t.Errorf("it is said to be %q", why)
		}
		p.Know("gpu-1", pool.Facts{Up: true, Version: "0.17.4"})
		p.Know("gpu-9", pool.Facts{Up: true}) // is not in the pool
		if asked := ask(); !slices.Contains(asked, "gpu-1") {
			t.Errorf("when it is up: asked %v", asked)
		}
	})
}

func TestRunnerThatHangsIsEjectedThoughItAnswersChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := good("hung")
		_, backends := machines(hung, good("well"))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
		calls := poisson(1, 1, 10, 1)
		calls[0].need.Host = "hung"
		simulate(t, p, calls) // the model is in memory now
		hung.fails = func(time.Time) *fault { return &fault{hangs: true} }
		calls[0].patience = 40 * time.Second
		for range 5 {
			p.Know("hung", pool.Facts{Up: true})
			simulate(t, p, calls)
		}
		if s := p.Stats().Hosts[0]; s.Breaker == "closed" || !strings.Contains(s.Why, "no token in 3m20s of waiting") {
			t.Errorf("after five calls without a token: %+v", s)
		}
		calls[0].need.Host = ""
		for range 3 {
			if got := simulate(t, p, calls); got[0].err != nil {
				t.Errorf("with another host at hand: %v", got[0].err)
			}
		}
	})
}

func TestHostThatIsTooSlowAgainAndAgainIsEjectedUnlessItWasGivenNoTime(t *testing.T) {
	for name, c := range map[string]struct {
		patience time.Duration
		cause    error
		breaker  string
	}{
		"too slow":                 {12 * time.Second, fmt.Errorf("%w: its share of the time is over", pool.ErrTooSlow), "open"},
		"too slow for little time": {time.Second, pool.ErrTooSlow, "closed"},
		"left by its caller":       {time.Minute, errors.New("the client left"), "closed"},
	} {
		synctest.Test(t, func(t *testing.T) {
			hosts, backends := machines(good("stuck"))
			p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
			if err := ask(t.Context(), p, "m:latest", 1); err != nil { // it is in memory then
				t.Fatal(err)
			}
			hosts[0].fails = func(time.Time) *fault { return &fault{hangs: true} }
			for range 5 {
				ctx, cancel := context.WithCancelCause(t.Context())
				timer := time.AfterFunc(c.patience, func() { cancel(c.cause) })
				if err := ask(ctx, p, "m:latest", 1); !errors.Is(err, backend.Caller) {
					t.Errorf("%s: got %v, want that its caller left", name, err)
				}
				timer.Stop()
			}
			if got := p.Stats().Hosts[0].Breaker; got != c.breaker {
				t.Errorf("%s: the breaker is %s, want %s", name, got, c.breaker)
			}
		})
	}
}
