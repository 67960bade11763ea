package pool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
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

func TestModelIsNotLoadedAnewForLessContextThanItHas(t *testing.T) {
	p := newPool(t, pool.Options{
		Hosts: named("gpu-1", "gpu-2"), Slots: 1, Runner: map[string]map[string]any{"m:latest": {"num_gpu": 99}},
	})
	p.Know("gpu-2", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest", NumCtx: 8192}}})
	runner := func(numCtx any) map[string]any { return map[string]any{"num_ctx": numCtx} }
	for name, c := range map[string]struct {
		need       route.Need
		numCtx     any
		warm       bool
		overridden []string
	}{
		"less":             {route.Need{Model: "m:latest", Runner: runner(4096.0)}, 8192, true, []string{"num_ctx"}},
		"as much":          {route.Need{Model: "m:latest", Runner: runner(8192.0)}, 8192, true, nil},
		"more":             {route.Need{Model: "m:latest", Runner: runner(8193.0)}, 8193.0, false, nil},
		"nothing asked":    {route.Need{Model: "m:latest"}, nil, true, nil},
		"not a number":     {route.Need{Model: "m:latest", Runner: runner("4096")}, "4096", true, nil},
		"less, raw":        {route.Need{Model: "m:latest", RawRunner: true, Runner: runner(4096.0)}, 4096.0, false, nil},
		"of another model": {route.Need{Model: "n:latest", Runner: runner(4096.0)}, 4096.0, false, nil},
		"of another host":  {route.Need{Model: "m:latest", Host: "gpu-1", Runner: runner(4096.0)}, 4096.0, false, nil},
	} {
		ctx, leave := context.WithCancel(t.Context())
		err := p.With(ctx, c.need, func(_ context.Context, l *pool.Lease) error {
			if l.Runner["num_ctx"] != c.numCtx || !slices.Equal(l.Overridden, c.overridden) {
				t.Errorf("%s: got %v, overridden %v", name, l.Runner, l.Overridden)
			}
			if warm := l.Host.Name() == "gpu-2"; c.warm && !warm {
				t.Errorf("%s: asked of a host that would have to load the model", name)
			}
			leave() // so that nothing is learned
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestModelThatOneCallerLoadedWithMoreContextServesThoseWhoLeaveItOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(good("gpu"))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
		for i, step := range []struct {
			loaded      int // context, by a check before; 0 for no check
			asked, sent any
			overridden  bool
		}{
			{0, nil, nil, false},          // the host chooses
			{4096, nil, nil, false},       // and it is known what
			{4096, 2048.0, 4096, true},    // less is no reason to load
			{4096, 8192.0, 8192.0, false}, // more is
			{8192, nil, 8192, false},      // and serves those who would have had less
			{2048, nil, nil, false},       // but less does not
		} {
			if step.loaded > 0 {
				p.Know("gpu", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest", NumCtx: step.loaded}}})
			}
			need := route.Need{Model: "m:latest"}
			if step.asked != nil {
				need.Runner = map[string]any{"num_ctx": step.asked}
			}
			err := p.With(t.Context(), need, func(ctx context.Context, l *pool.Lease) error {
				if got := l.Runner["num_ctx"]; got != step.sent || len(l.Overridden) > 0 != step.overridden {
					t.Errorf("step %d: got %v, overridden %v, want %v", i, got, l.Overridden, step.sent)
				}
				return generate(ctx, l.Host, need.Model, 1)
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
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
		mean := meanSlots(p)
		got := simulate(t, p, calls)
		slots := mean() // not those of one moment, which may be on trial
		served := len(got) - failures(got)
		s := p.Stats().Hosts[0]
		t.Logf("%.1f slots in the mean for a host that works on two at once, %d in the end (%s); %d calls served", slots, s.Slots, s.Reason, served)
		if !s.Learned || slots < 1.5 || slots > 10 {
			t.Errorf("%.1f slots in the mean", slots)
		}
		if float64(served) < 0.85*2*750 {
			t.Errorf("%d calls were served in 750 s, of 1500 that could be", served)
		}
		assertAllSlots(t, p, "m:latest", s.Slots)
	})
}

// meanSlots looks each second how many slots the first host has, until the mean is
// asked for.
func meanSlots(p *pool.Pool) (mean func() float64) {
	stop := make(chan struct{})
	var sum, n float64
	var looks sync.WaitGroup
	looks.Go(func() {
		for {
			sum += float64(p.Stats().Hosts[0].Slots)
			n++
			select {
			case <-time.After(time.Second):
			case <-stop:
				return
			}
		}
	})
	return func() float64 {
		close(stop)
		looks.Wait()
		return sum / n
	}
}

// Ollama gives a model that was trained for less than its default no more than it can take,
// tells that number, and loads the model anew when it is asked for it.
func TestContextThatTheHostHasChosenIsNotAskedOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, backends := machines(good("gpu"), good("other"))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
		ask := func(host string, numCtx any) (runner map[string]any) {
			need := route.Need{Model: "m:latest", Host: host}
			if numCtx != nil {
				need.Runner = map[string]any{"num_ctx": numCtx}
			}
			err := p.With(t.Context(), need, func(ctx context.Context, l *pool.Lease) error {
				runner = l.Runner
				_, err := l.Host.Generate(ctx, &backend.GenerateRequest{Model: need.Model, Options: runner, Prompt: "x"}, nil)
				return err
			})
			if err != nil {
				t.Error(err)
			}
			return runner
		}
		ask("gpu", nil)
		p.Know("gpu", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest", NumCtx: 2048}}})
		for _, c := range []struct {
			host       string
			asked      any
			said, sent any
		}{
			{"gpu", 1024.0, 2048, nil},
			{"gpu", 2048.0, 2048, nil},
			{"gpu", nil, nil, nil},
			{"other", 2048.0, 2048.0, 2048.0}, // which would give it another
			{"gpu", 4096.0, 4096.0, 4096.0},   // and now it was asked
			{"gpu", 4096.0, 4096, 4096},
		} {
			said := ask(c.host, c.asked)["num_ctx"]
			if got := hosts[map[string]int{"gpu": 0, "other": 1}[c.host]].asked.Options["num_ctx"]; said != c.said || got != c.sent {
				t.Errorf("%v asked of %s: %v is said to be sent, and %v is, want %v and %v", c.asked, c.host, said, got, c.said, c.sent)
			}
		}
	})
}

func TestLeaseTellsTheContextThatIsLeftToTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(good("gpu"))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
		for i, step := range []struct {
			check int // finds the model loaded with so much; 0 for no check
			asked any
			want  int
		}{
			{4096, nil, 0},    // which others may have asked for
			{4096, nil, 4096}, // but then it would have been loaded anew
			{0, 2048.0, 4096}, // no other number is sent, and not this one either
			{0, 16384.0, 0},   // this one is
			{16384, nil, 0},   // and so is what is more than enough
			{32768, nil, 0},   // whoever has asked for that
		} {
			if step.check > 0 {
				p.Know("gpu", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest", NumCtx: step.check}}})
			}
			need := route.Need{Model: "m:latest"}
			if step.asked != nil {
				need.Runner = map[string]any{"num_ctx": step.asked}
			}
			err := p.With(t.Context(), need, func(ctx context.Context, l *pool.Lease) error {
				if l.Context != step.want {
					t.Errorf("step %d: got %d, want %d; sent are %v", i, l.Context, step.want, l.Runner)
				}
				return generate(ctx, l.Host, need.Model, 1)
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// Ollama tells the context that a model can take, and loads it anew for another num_ctx
// than it was loaded for.
func TestModelThatCannotTakeTheContextAskedForIsNotTakenForGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(good("gpu"))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
		for _, asked := range []float64{8192, 8192, 4096, 2048, 8192} {
			need := route.Need{Model: "m:latest", Runner: map[string]any{"num_ctx": asked}}
			err := p.With(t.Context(), need, func(ctx context.Context, l *pool.Lease) error {
				if got := fmt.Sprint(l.Runner["num_ctx"]); got != "8192" {
					t.Errorf("asked for %v: sent %v, for which the model is loaded anew", asked, got)
				}
				return generate(ctx, l.Host, need.Model, 1)
			})
			if err != nil {
				t.Error(err)
			}
			p.Know("gpu", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest", NumCtx: 4096}}})
		}
	})
}
