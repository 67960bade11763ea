package pool_test

import (
	"context"
	"errors"
	"math"
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

func TestStatsShareNothingWithThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1})
		p.Know("gpu-1", pool.Facts{Up: true, Version: "0.17.4", Installed: []string{"m:latest"}, Loaded: []pool.Loaded{{Model: "m:latest", NumCtx: 4096}}})
		var all sync.WaitGroup
		for _, priority := range []route.Priority{route.Interactive, route.Interactive, route.Batch, route.Batch} {
			all.Go(func() {
				_ = p.With(t.Context(), route.Need{Caller: "ci", Bytes: 7, Priority: priority}, hold(time.Second))
			})
			synctest.Wait()
		}
		s := p.Stats()
		h := s.Hosts[0]
		if !h.Well || h.Version != "0.17.4" || h.Busy != 1 || h.Slots != 1 || h.Installed != 1 || !slices.Equal(h.Loaded, []string{"m:latest"}) {
			t.Errorf("the host: %+v", h)
		}
		if s.Queue.Waiting != 3 || s.Queue.Bytes != 21 || s.Queue.Interactive != 1 || s.Queue.Batch != 2 || s.Queue.Callers["ci"] != 3 {
			t.Errorf("the queue: %+v", s.Queue)
		}
		s.Queue.Callers["ci"] = 99
		h.Loaded[0], h.Checked[0].Model = "x", "x"
		again := p.Stats()
		if again.Queue.Callers["ci"] != 3 || again.Hosts[0].Loaded[0] != "m:latest" || again.Hosts[0].Checked[0].Model != "m:latest" {
			t.Errorf("writing into stats changed the pool: %+v", again)
		}
		all.Wait()
	})
}

func TestStatsTellHowFastCallsComeAndTheQueueGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(&machine{name: "gpu", parallel: 1, perToken: 10 * time.Millisecond})
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1, Queue: 1000, PerCaller: 1000})
		var all sync.WaitGroup
		expect := func(when string, want pool.Rates) {
			got := p.Stats().Rates
			for name, pair := range map[string][2]float64{
				"calls": {got.Calls, want.Calls}, "served": {got.Served, want.Served},
				"failed": {got.Failed, want.Failed}, "growth": {got.Growth, want.Growth},
			} {
				if math.Abs(pair[0]-pair[1]) > 0.05 {
					t.Errorf("%s: %s: %.2f per second, want %.2f", when, name, pair[0], pair[1])
				}
			}
		}
		expect("at first", pool.Rates{})
		for range 600 { // two calls a second for five minutes, of which one is served
			all.Go(func() { _ = ask(t.Context(), p, "m:latest", 100) })
			time.Sleep(time.Second / 2)
		}
		expect("while more come than are served", pool.Rates{Calls: 2, Served: 1, Growth: 1})
		time.Sleep(4 * time.Minute)
		expect("when no more come", pool.Rates{Served: 1, Growth: -1})
		all.Wait()
		time.Sleep(5 * time.Minute)
		expect("when all are served", pool.Rates{})
	})
}

func TestStatsTellTheBoundsOfSlotsThatAreLearned(t *testing.T) {
	p := newPool(t, pool.Options{Hosts: []backend.Backend{}})
	for name, c := range map[string]struct {
		slots pool.Slots
		want  [3]int // to begin with, and the bounds
	}{
		"given":                  {pool.Slots{Given: 3}, [3]int{3, 3, 3}},
		"learned":                {pool.Slots{}, [3]int{2, 1, 64}},
		"learned within a bound": {pool.Slots{Max: 2}, [3]int{2, 1, 2}},
	} {
		if _, err := p.Add(host{name: "gpu"}, c.slots); err != nil {
			t.Fatal(err)
		}
		h := p.Stats().Hosts[0]
		if [3]int{h.Slots, h.Fewest, h.Most} != c.want {
			t.Errorf("%s: %d slots, from %d to %d, want %v", name, h.Slots, h.Fewest, h.Most, c.want)
		}
		if learned := c.slots.Given == 0; h.Learned != learned || (h.Reason != "") != learned {
			t.Errorf("%s: learned: %v, because of %q", name, h.Learned, h.Reason)
		}
	}
}

func TestStatsTellWhyAHostHasToProveThatItIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, backends := machines(good("gpu"))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1, Retries: -1})
		expect := func(well bool, state, why string) {
			t.Helper()
			if h := p.Stats().Hosts[0]; h.Well != well || h.Breaker != state || !strings.HasPrefix(h.Why, why) || why == "" && h.Why != "" {
				t.Errorf("well %v, %s, because of %q, want %v, %s, %q", h.Well, h.Breaker, h.Why, well, state, why)
			}
		}
		expect(true, "closed", "")
		hosts[0].fails = func(time.Time) *fault { return &fault{class: backend.Transport} }
		for range 5 {
			if err := ask(t.Context(), p, "m:latest", 1); !errors.Is(err, backend.Transport) {
				t.Fatal(err)
			}
		}
		expect(false, "open", "ejected for ")
		if why := p.Stats().Hosts[0].Why; !strings.HasSuffix(why, "; still used, since no other host is available") {
			t.Errorf("the only host gets calls though it is ejected, and that is said: %q", why)
		}
		time.Sleep(15 * time.Second)
		expect(true, "half-open", "being tried again after")
		hosts[0].fails = nil
		var probe sync.WaitGroup
		probe.Go(func() { _ = ask(t.Context(), p, "m:latest", 100) })
		synctest.Wait()
		expect(false, "half-open", "being tried again after")
		probe.Wait()
		expect(true, "closed", "")
	})
}

func assertEachIsCountedOnce(t *testing.T, s pool.Stats) {
	t.Helper()
	if sum := s.Served + s.Failed + s.Cancelled + s.GaveUp + s.Refused + s.Open; sum != s.Calls {
		t.Errorf("%d requests came, and %d are counted: %+v", s.Calls, sum, s.Totals)
	}
}

func TestEachRequestIsCountedByHowItEnds(t *testing.T) {
	broken := failure(backend.Server, "broken")
	for name, tc := range map[string]struct {
		use  func(context.Context, *pool.Lease) error
		want pool.Totals
	}{
		"answered": {hold(0), pool.Totals{Calls: 1, Served: 1}},
		"answered by the second try": {func(_ context.Context, l *pool.Lease) error {
			if l.Attempt == 1 {
				return broken
			}
			return nil
		}, pool.Totals{Calls: 1, Served: 1, TriesFailed: 1, Retried: 1}},
		"never answered": {
			func(context.Context, *pool.Lease) error { return broken },
			pool.Totals{Calls: 1, Failed: 1, TriesFailed: 4, Retried: 3},
		},
		"its own fault": {
			func(context.Context, *pool.Lease) error { return failure(backend.Request, "bad option") },
			pool.Totals{Calls: 1, Failed: 1},
		},
		"too late on a host": {
			func(ctx context.Context, _ *pool.Lease) error { return after(ctx, time.Hour, nil) },
			pool.Totals{Calls: 1, Cancelled: 1},
		},
		"the borrower panics": {
			func(context.Context, *pool.Lease) error { panic("borrower") },
			pool.Totals{Calls: 1, Failed: 1},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Slots: 1})
			func() {
				defer func() { _ = recover() }()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				_ = p.With(ctx, route.Need{}, tc.use)
			}()
			if got := p.Stats(); got.Totals != tc.want {
				t.Errorf("%s: counted %+v, want %+v", name, got.Totals, tc.want)
			}
		})
	}
}

func TestRequestsThatGetNoSlotAreCountedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1, Queue: 1, PerCaller: 1})
		p.Know("gpu-1", pool.Facts{Up: true, Installed: []string{"a:latest"}})
		var all sync.WaitGroup
		all.Go(func() { _ = p.With(t.Context(), route.Need{}, hold(time.Minute)) })
		synctest.Wait()
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_ = p.With(ctx, route.Need{}, hold(0))
		})
		synctest.Wait()
		_ = p.With(t.Context(), route.Need{}, hold(0))
		_ = p.With(t.Context(), route.Need{Model: "b:latest"}, hold(0))
		if got, want := p.Stats().Totals, (pool.Totals{Calls: 4, Refused: 2, Open: 2, InFlight: 1}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
		all.Wait()
		if got, want := p.Stats().Totals, (pool.Totals{Calls: 4, Served: 1, GaveUp: 1, Refused: 2}); got != want {
			t.Errorf("in the end counted %+v, want %+v", got, want)
		}
	})
}

func TestLatencyAndCapacityAreOfCallsThatWereAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 2, Retries: -1})
		_ = p.With(t.Context(), route.Need{}, func(context.Context, *pool.Lease) error { return failure(backend.Server, "broken") })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 100 {
			_ = p.With(ctx, route.Need{}, hold(0))
		}
		if err := p.With(t.Context(), route.Need{}, hold(time.Second)); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats(); s.Hosts[0].Latency != time.Second || s.PerSecond != 0 {
			t.Errorf("a latency of %v and %v calls a second, want that of the one answered, and no guess", s.Hosts[0].Latency, s.PerSecond)
		}
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() { _ = p.With(t.Context(), route.Need{}, hold(2*time.Second)) })
		}
		all.Wait()
		time.Sleep(time.Hour)
		if s := p.Stats(); s.Hosts[0].Latency.Round(time.Second/10) != 2*time.Second || math.Abs(s.PerSecond-1) > 0.01 {
			t.Errorf("a latency of %v and %v calls a second, want 2s and 1", s.Hosts[0].Latency, s.PerSecond)
		}
		for range 1000 {
			all.Go(func() { _ = p.With(t.Context(), route.Need{}, hold(0)) })
		}
		all.Wait()
		if s := p.Stats(); math.IsInf(s.PerSecond, 0) {
			t.Error("calls that take no time make a capacity without end")
		}
	})
}

func TestCallersWithoutANameAreNotListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1})
		var all sync.WaitGroup
		for _, who := range []string{"", "", "ci"} {
			all.Go(func() { _ = p.With(t.Context(), route.Need{Caller: who}, hold(time.Second)) })
			synctest.Wait()
		}
		if q := p.Stats().Queue; q.Waiting != 2 || len(q.Callers) != 1 || q.Callers["ci"] != 1 {
			t.Errorf("the queue: %+v, want 2 that wait, and ci's alone by name", q)
		}
		all.Wait()
	})
}
