package pool_test

import (
	"context"
	"errors"
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

// cloudy is a host that says of its models where they run when it is asked to describe
// them. It fails the test if a request leaves that may not.
type cloudy struct {
	backend.Backend
	name string

	mu     sync.Mutex
	remote map[string]bool // models that it passes on
	shows  int
	asked  int
	passed int // requests that it passed on
}

func (h *cloudy) Name() string { return h.name }

func (h *cloudy) Show(_ context.Context, model string) (*backend.ModelInfo, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shows++
	info := new(backend.ModelInfo)
	if h.remote[backend.CanonicalModel(model)] {
		info.RemoteHost = "https://ollama.com:443"
	}
	return info, nil
}

func (h *cloudy) Models(context.Context) ([]backend.Model, error) { return nil, nil }

func (h *cloudy) Generate(_ context.Context, req *backend.GenerateRequest, _ func(backend.Piece)) (*backend.Answer, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	a := &backend.Answer{Text: "here", DoneReason: "stop"}
	if h.remote[backend.CanonicalModel(req.Model)] || backend.IsCloudName(req.Model) {
		h.passed++
		a.Text, a.Remote = "afar", "https://ollama.com:443"
	}
	return a, nil
}

func TestHostIsDescribedOnceUntilItsModelIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &cloudy{name: "gpu-1", remote: map[string]bool{}}
		p := newPool(t, pool.Options{Hosts: []backend.Backend{h}})
		ask := func() error {
			return p.With(t.Context(), route.Need{Model: "mine:latest", LocalOnly: true}, func(ctx context.Context, l *pool.Lease) error {
				return generate(ctx, l.Host, "mine", 1)
			})
		}
		p.Know("gpu-1", pool.Facts{Up: true, Installed: []string{"mine:latest"}})
		for range 3 {
			if err := ask(); err != nil {
				t.Error(err)
			}
		}
		if h.shows != 1 || h.asked != 3 {
			t.Errorf("described %d times, asked %d times", h.shows, h.asked)
		}
		h.remote["mine:latest"] = true
		p.Know("gpu-1", pool.Facts{Up: true, Installed: []string{"mine:latest"}, Replaced: []string{"mine:latest"}})
		for range 2 {
			if err := ask(); !errors.Is(err, backend.Forbidden) {
				t.Errorf("in the cloud by now: got %v", err)
			}
		}
		h.remote["mine:latest"] = false
		p.Know("gpu-1", pool.Facts{Up: true, Installed: []string{}})
		p.Know("gpu-1", pool.Facts{Up: true, Installed: []string{"mine:latest"}})
		if err := ask(); err != nil || h.asked != 4 {
			t.Errorf("installed anew: got %v, asked %d times", err, h.asked)
		}
	})
}

func TestPartInTheCloudGoesWithItsHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("gpu-1"), Slots: 1})
		var calls sync.WaitGroup
		for model, d := range map[string]time.Duration{"own": 10 * time.Second, "mine:cloud": 20 * time.Second} {
			calls.Go(func() {
				if err := p.With(t.Context(), route.Need{Model: model}, hold(d)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if s := p.Stats(); len(s.Hosts) != 1 || s.InFlight != 2 || s.Hosts[0].Busy != 1 || s.Hosts[0].Cloud == nil || s.Hosts[0].Cloud.Busy != 1 || len(p.Hosts()) != 1 {
			t.Errorf("got %+v", s)
		}
		began := time.Now()
		<-p.Remove("gpu-1")
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("drained after %v, want when the last call on either part has ended", took)
		}
		calls.Wait()
		if err := p.With(t.Context(), route.Need{Model: "mine:cloud"}, hold(0)); !errors.Is(err, pool.ErrNoHost) {
			t.Errorf("after the host was removed: %v", err)
		}
		if _, err := p.Add(host{name: "gpu-1"}, pool.Slots{Given: 1}); err != nil {
			t.Fatal(err)
		}
		if err := p.With(t.Context(), route.Need{Model: "mine:cloud"}, hold(0)); err != nil {
			t.Errorf("after the host was added again: %v", err)
		}
	})
}

func TestHostThatIsDownReachesNoCloudEither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2")})
		if err := p.With(t.Context(), route.Need{Model: "mine:cloud"}, hold(0)); err != nil {
			t.Fatal(err)
		}
		p.Know("gpu-1", pool.Facts{Err: errors.New("connection refused")})
		for range 5 {
			err := p.With(t.Context(), route.Need{Model: "mine:cloud"}, func(_ context.Context, l *pool.Lease) error {
				if l.Host.Name() != "gpu-2" || !l.Cloud {
					t.Errorf("lent %s, cloud %v", l.Host.Name(), l.Cloud)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// Whatever hosts say and however that changes, a request that may not leave reaches no host
// that is known to pass it on, nor one that says so when it is asked.
func TestNoRequestThatMayNotLeaveDoes(t *testing.T) {
	models := []string{"a:latest", "b:latest", "c:cloud", "d:1b-cloud"}
	rapid.Check(t, func(rt *rapid.T) {
		hosts := map[string]*cloudy{}
		var all []backend.Backend
		for i := range rapid.IntRange(1, 3).Draw(rt, "hosts") {
			h := &cloudy{name: fmt.Sprint("gpu-", i), remote: map[string]bool{}}
			hosts[h.name] = h
			all = append(all, h)
		}
		p := newPool(t, pool.Options{Hosts: all, Slots: 2})
		host := rapid.SampledFrom(all)
		rt.Repeat(map[string]func(*rapid.T){
			"list": func(rt *rapid.T) { // with a model that may be another by now
				h := hosts[host.Draw(rt, "host").Name()]
				model := rapid.SampledFrom(models[:2]).Draw(rt, "model")
				h.remote[model] = rapid.Bool().Draw(rt, "remote")
				f := pool.Facts{Up: true, Installed: models[:2], Replaced: []string{model}}
				for _, m := range models[:2] {
					if h.remote[m] && rapid.Bool().Draw(rt, "listed") {
						f.Cloud = append(f.Cloud, m)
					}
				}
				p.Know(h.name, f)
			},
			"down": func(rt *rapid.T) { p.Know(host.Draw(rt, "host").Name(), pool.Facts{}) },
			"ask": func(rt *rapid.T) {
				model, localOnly := rapid.SampledFrom(models).Draw(rt, "model"), rapid.Bool().Draw(rt, "local only")
				mayRun, passed := false, 0
				for _, h := range hosts {
					passed += h.passed
					mayRun = mayRun || !h.remote[model] && !backend.IsCloudName(model)
				}
				var got *backend.Answer
				err := p.With(t.Context(), route.Need{Model: model, LocalOnly: localOnly}, func(ctx context.Context, l *pool.Lease) (err error) {
					got, err = l.Host.Generate(ctx, &backend.GenerateRequest{Model: model}, nil)
					return err
				})
				for _, h := range hosts {
					passed -= h.passed
				}
				switch {
				case localOnly && !mayRun && !errors.Is(err, backend.Forbidden):
					rt.Errorf("%s runs in the cloud alone: got %v, %v", model, got, err)
				case localOnly && passed != 0:
					rt.Errorf("%s was passed on", model)
				case (!localOnly || mayRun) && err != nil:
					rt.Errorf("%s, local only %v: got %v", model, localOnly, err)
				}
			},
		})
	})
}
