package pool_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestPinnedRunnerOptionsWinAndAreReported(t *testing.T) {
	p := newPool(t, pool.Options{Slots: 1, Runner: map[string]map[string]any{"m:latest": {"num_ctx": 8192, "num_gpu": 99}}})
	for name, c := range map[string]struct {
		need       route.Need
		numCtx     any
		numBatch   any
		overridden []string
	}{
		"nothing asked":    {route.Need{Model: "m:latest"}, 8192, nil, nil},
		"the same":         {route.Need{Model: "m:latest", Runner: map[string]any{"num_ctx": 8192.0}}, 8192, nil, nil},
		"another":          {route.Need{Model: "m:latest", Runner: map[string]any{"num_ctx": 512.0, "num_batch": 64.0}}, 8192, 64.0, []string{"num_ctx"}},
		"another, raw":     {route.Need{Model: "m:latest", RawRunner: true, Runner: map[string]any{"num_ctx": 512.0}}, 512.0, nil, nil},
		"of another model": {route.Need{Model: "n:latest", Runner: map[string]any{"num_ctx": 512.0}}, 512.0, nil, nil},
	} {
		err := p.With(t.Context(), c.need, func(_ context.Context, l *pool.Lease) error {
			if l.Runner["num_ctx"] != c.numCtx || l.Runner["num_batch"] != c.numBatch || !slices.Equal(l.Overridden, c.overridden) {
				t.Errorf("%s: got %v, overridden %v", name, l.Runner, l.Overridden)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestCallWaitsForTheHostThatHasItsModelIfThatIsSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gpu := func(name string) *machine {
			return &machine{name: name, parallel: 1, perToken: 10 * time.Millisecond, load: 20 * time.Second, holds: 1}
		}
		hosts, backends := machines(gpu("gpu-1"), gpu("gpu-2"))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
		ask := func(n int, model string) []ending {
			calls := make([]arrival, n)
			for i := range calls {
				calls[i] = arrival{need: route.Need{Model: model}, tokens: 100}
			}
			return simulate(t, p, calls)
		}
		ask(1, "a:latest")
		ask(1, "b:latest")
		before := hosts[0].loads + hosts[1].loads
		ask(3, "a:latest") // 3 s where it is, 21 s elsewhere
		if loads := hosts[0].loads + hosts[1].loads - before; loads != 0 {
			t.Errorf("%d loads for calls that were served sooner without", loads)
		}
		got := ask(60, "a:latest") // a minute where it is
		if loads := hosts[0].loads + hosts[1].loads - before; loads != 1 || quantile(got, 1) > 50*time.Second {
			t.Errorf("%d loads and %v for all, want one load and both hosts at work", loads, quantile(got, 1))
		}
	})
}

func TestLearnedSlotsKeepTheHostBusyAndNoneIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(&machine{name: "gpu", parallel: 2, perToken: 10 * time.Millisecond})
		p := newPool(t, pool.Options{Hosts: backends, PerCaller: 256})
		calls := poisson(3000, 4, 100, 4) // twice what it can serve
		for i := range calls {
			calls[i].patience = time.Minute
		}
		got := simulate(t, p, calls)
		s := p.Stats().Hosts[0]
		served := len(got) - failures(got)
		t.Logf("learned %d slots for a host that works on two at once (%s); %d calls served", s.Slots, s.Reason, served)
		if !s.Learned || s.Slots < 2 || s.Slots > 6 {
			t.Errorf("learned %d slots", s.Slots)
		}
		if float64(served) < 0.9*2*750 {
			t.Errorf("%d calls were served in 750 s, of 1500 that could be", served)
		}
		assertAllSlots(t, p, s.Slots)
	})
}
