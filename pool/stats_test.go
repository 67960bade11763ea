package pool_test

import (
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
		for range 2 {
			all.Go(func() { _ = p.With(t.Context(), route.Need{Caller: "ci", Bytes: 7}, hold(time.Second)) })
		}
		synctest.Wait()
		s := p.Stats()
		h := s.Hosts[0]
		if !h.Well || h.Version != "0.17.4" || h.Busy != 1 || h.Slots != 1 || h.Installed != 1 || !slices.Equal(h.Loaded, []string{"m:latest"}) {
			t.Errorf("the host: %+v", h)
		}
		if s.Queue.Waiting != 1 || s.Queue.Bytes != 7 || s.Queue.Interactive != 1 || s.Queue.Callers["ci"] != 1 {
			t.Errorf("the queue: %+v", s.Queue)
		}
		s.Queue.Callers["ci"] = 99
		h.Loaded[0], h.Checked[0].Model = "x", "x"
		again := p.Stats()
		if again.Queue.Callers["ci"] != 1 || again.Hosts[0].Loaded[0] != "m:latest" || again.Hosts[0].Checked[0].Model != "m:latest" {
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
		"learned":                {pool.Slots{}, [3]int{4, 1, 64}},
		"learned within a bound": {pool.Slots{Max: 2}, [3]int{2, 1, 2}},
	} {
		if _, err := p.Add(host{name: "gpu"}, c.slots); err != nil {
			t.Fatal(err)
		}
		if h := p.Stats().Hosts[0]; [3]int{h.Slots, h.Fewest, h.Most} != c.want {
			t.Errorf("%s: %d slots, from %d to %d, want %v", name, h.Slots, h.Fewest, h.Most, c.want)
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
		hosts[0].fails = func(time.Time) *fault { return &fault{class: backend.Server} }
		for range 5 {
			if err := ask(t.Context(), p, "m:latest", 1); !errors.Is(err, backend.Server) {
				t.Fatal(err)
			}
		}
		expect(false, "open", "ejected for ")
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
