package pool_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// ofModels are failures that say nothing about other models of the same host.
var ofModels = []backend.Class{
	backend.Server, backend.Crashed, backend.Unloadable, backend.BadOutput, backend.NoRoom, backend.TooLong,
	backend.TooLarge, backend.Request, backend.ModelMissing, backend.Unauthorized, backend.Overload,
}

// spread has as many calls of a model at once as the hosts have slots, and returns how many
// each host was given.
func spread(t *testing.T, p *pool.Pool, model string, calls int) map[string]int {
	t.Helper()
	var mu sync.Mutex
	given := make(map[string]int)
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			err := p.With(t.Context(), route.Need{Model: model}, func(ctx context.Context, l *pool.Lease) error {
				mu.Lock()
				given[l.Host.Name()]++
				mu.Unlock()
				time.Sleep(time.Second)
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", model, err)
			}
		})
	}
	all.Wait()
	return given
}

func TestFailuresOfOneModelLeaveTheOthersSpreadOverAllHosts(t *testing.T) {
	want := map[string]int{"a": 1, "b": 1, "c": 1}
	for _, policy := range route.Policies() {
		for _, class := range ofModels {
			for _, bad := range []int{1, 4, 40} {
				synctest.Test(t, func(t *testing.T) {
					p := newPool(t, pool.Options{Hosts: named("a", "b", "c"), Slots: 1, Policy: policy})
					for range bad {
						err := p.With(t.Context(), route.Need{Model: "bad:latest"}, func(context.Context, *pool.Lease) error {
							return failure(class, "of the model alone")
						})
						if !errors.Is(err, class) {
							t.Errorf("%s: got %v", class, err)
						}
					}
					for _, h := range p.Stats().Hosts {
						if !h.Well || h.Breaker != "closed" {
							t.Errorf("%s, %s: after %d calls of another model %s is %s: %s", policy.Name, class, bad, h.Name, h.Breaker, h.Why)
						}
					}
					began := time.Now()
					if got := spread(t, p, "good:latest", 3); !maps.Equal(got, want) || time.Since(began) != time.Second {
						t.Errorf("%s, %s: after %d calls of another model %v were given in %v, want one each at once", policy.Name, class, bad, got, time.Since(began))
					}
				})
			}
		}
	}
}

func TestModelThatFailsOnAHostIsEjectedThereAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("a", "b"), Slots: 1, Retries: -1})
		for range 5 {
			_ = p.With(t.Context(), route.Need{Model: "bad:latest", Host: "a"}, func(context.Context, *pool.Lease) error {
				return failure(backend.Server, "broken")
			})
		}
		h := p.Stats().Hosts[0]
		if len(h.Ejected) != 1 || h.Ejected[0].Model != "bad:latest" || h.Ejected[0].Breaker != "open" || h.Breaker != "closed" {
			t.Errorf("got %+v, want the model to be out, and the host not", h)
		}
		if got := spread(t, p, "bad:latest", 2); got["a"] != 0 || got["b"] != 2 {
			t.Errorf("calls of the model that is out on a were given as %v", got)
		}
		time.Sleep(15 * time.Second)
		if got := spread(t, p, "bad:latest", 2); got["a"] != 1 {
			t.Errorf("after its rest the calls were given as %v, want one trial on a", got)
		}
		if h = p.Stats().Hosts[0]; len(h.Ejected) != 0 {
			t.Errorf("after a trial that went well %+v are out", h.Ejected)
		}
	})
}

func TestHostAnswersWhileOneOfItsModelsDoes(t *testing.T) {
	for name, tc := range map[string]struct {
		installed []string
		broken    []string
		fine      []string
		want      bool
	}{
		"nothing was tried":                    {[]string{"m:latest"}, nil, nil, true},
		"no model is installed":                {[]string{}, nil, nil, true},
		"a model that was not tried is left":   {[]string{"m:latest", "n:latest"}, []string{"m:latest"}, nil, true},
		"a model that does well is left":       {[]string{"m:latest", "n:latest"}, []string{"m:latest"}, []string{"n:latest"}, true},
		"all models are out":                   {[]string{"m:latest", "n:latest"}, []string{"m:latest", "n:latest"}, nil, false},
		"the only one is out":                  {[]string{"m:latest"}, []string{"m:latest"}, nil, false},
		"all that were tried, of unknown many": {nil, []string{"m:latest", "n:latest"}, nil, false},
		"one of them does well":                {nil, []string{"m:latest"}, []string{"n:latest"}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Hosts: named("a"), Slots: 1, Retries: -1})
			if tc.installed != nil {
				p.Know("a", pool.Facts{Up: true, Installed: tc.installed})
			}
			for _, model := range tc.fine {
				_ = p.With(t.Context(), route.Need{Model: model}, func(context.Context, *pool.Lease) error { return nil })
			}
			for _, model := range tc.broken {
				for range 5 {
					_ = p.With(t.Context(), route.Need{Model: model}, func(context.Context, *pool.Lease) error { return failure(backend.Server, "broken") })
				}
			}
			if h := p.Stats().Hosts[0]; h.Answers != tc.want || !h.Well {
				t.Errorf("%s: answers is %v, well is %v", name, h.Answers, h.Well)
			}
			time.Sleep(15 * time.Second)
			if h := p.Stats().Hosts[0]; !h.Answers {
				t.Errorf("%s: does not answer though its models may be tried again", name)
			}
			if tc.installed != nil {
				p.Know("a", pool.Facts{})
				if p.Stats().Hosts[0].Answers {
					t.Errorf("%s: answers though it is down", name)
				}
			}
		})
	}
}

func TestHostThatCannotBeReachedIsEjectedForAllModels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("a", "b"), Slots: 1, Retries: -1})
		for i := range 5 {
			_ = p.With(t.Context(), route.Need{Model: fmt.Sprintf("m%d:latest", i), Host: "a"}, func(context.Context, *pool.Lease) error {
				return failure(backend.Transport, "connection refused")
			})
		}
		if h := p.Stats().Hosts[0]; h.Breaker != "open" || len(h.Ejected) != 0 {
			t.Errorf("got %+v, want the host to be out, and no model of it", h)
		}
		if got := spread(t, p, "good:latest", 2); got["b"] != 2 {
			t.Errorf("calls of another model were given as %v", got)
		}
	})
}

func TestFailureThatTendsToComeAgainIsTriedOnceMoreAtMost(t *testing.T) {
	for class, most := range map[backend.Class]int{
		backend.BadOutput: 2, backend.Unloadable: 2, backend.Server: 4, backend.NoRoom: 3, backend.Request: 1, backend.TooLong: 1,
	} {
		for _, hosts := range [][]backend.Backend{named("a"), named("a", "b", "c")} {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, pool.Options{Hosts: hosts, Slots: 1})
				tries := 0
				err := p.With(t.Context(), route.Need{Model: "m:latest"}, func(context.Context, *pool.Lease) error {
					tries++
					return failure(class, "no")
				})
				if most := min(most, map[bool]int{true: len(hosts), false: most}[class == backend.NoRoom]); tries != most || !errors.Is(err, class) {
					t.Errorf("%s on %d hosts: %d tries, want %d, and %v", class, len(hosts), tries, most, err)
				}
			})
		}
	}
}

func TestHostThatHasNotThePathIsAskedOnceMoreAtMost(t *testing.T) {
	for status, most := range map[int]int{301: 2, 308: 2, 404: 2, 405: 2, 501: 2, 500: 4, 502: 4, 0: 4} {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Hosts: named("a"), Slots: 1})
			tries := 0
			_ = p.With(t.Context(), route.Need{Model: "m:latest"}, func(context.Context, *pool.Lease) error {
				tries++
				return &backend.Error{Host: "a", Class: backend.Server, Status: status, Message: "no"}
			})
			if tries != most {
				t.Errorf("status %d: %d tries, want %d", status, tries, most)
			}
		})
	}
}

// Whatever fails for some models, and however often, a host is well as long as it can be
// reached, and is given its part of the calls of a model that does not fail.
func TestHostIsOutOnlyIfItCannotBeReached(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type call struct {
			Host, Model string
			Class       backend.Class
			Wait        time.Duration
		}
		calls := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) call {
			return call{
				rapid.SampledFrom([]string{"a", "b", "c", ""}).Draw(rt, "host"), rapid.SampledFrom([]string{"x:latest", "y:latest"}).Draw(rt, "model"),
				rapid.SampledFrom(ofModels).Draw(rt, "class"), time.Duration(rapid.IntRange(0, 20).Draw(rt, "seconds")) * time.Second,
			}
		}), 1, 40).Draw(rt, "calls")
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Hosts: named("a", "b", "c"), Slots: 1})
			for _, c := range calls {
				_ = p.With(t.Context(), route.Need{Model: c.Model, Host: c.Host}, func(context.Context, *pool.Lease) error {
					return failure(c.Class, "no")
				})
				time.Sleep(c.Wait)
			}
			for _, h := range p.Stats().Hosts {
				if !h.Well || h.Breaker != "closed" {
					rt.Errorf("%s is %s: %s", h.Name, h.Breaker, h.Why)
				}
			}
			if got := spread(t, p, "good:latest", 3); len(got) != 3 {
				rt.Errorf("calls of another model were given as %v", got)
			}
		})
	})
}

// A model that dies after the first text, again and again, under the only call that it has.
func TestRequestUnderWhichModelsCrashInTheTextIsTriedOnceMore(t *testing.T) {
	for _, names := range [][]string{{"a"}, {"a", "b"}} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			hosts := make([]backend.Backend, len(names))
			for i, name := range names {
				hosts[i] = dies{host{name: name}, &tries}
			}
			p := newPool(t, pool.Options{Hosts: hosts, Slots: 4})
			err := p.With(t.Context(), route.Need{Model: "m:latest"}, func(ctx context.Context, l *pool.Lease) error {
				_, err := l.Host.Generate(ctx, &backend.GenerateRequest{Model: "m:latest"}, nil)
				return err
			})
			if !errors.Is(err, pool.ErrCrashes) || tries != 2 {
				t.Errorf("%d hosts: %d tries, and %v, want two, and that models crash under it", len(names), tries, err)
			}
			for _, h := range p.Stats().Hosts {
				if h.Breaker != "closed" {
					t.Errorf("%s is %s", h.Name, h.Breaker)
				}
			}
		})
	}
}

// dies is a host whose models die after two pieces.
type dies struct {
	backend.Backend
	tries *int
}

func (d dies) Generate(_ context.Context, _ *backend.GenerateRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	*d.tries++
	onPiece(backend.Piece{Text: "a"})
	onPiece(backend.Piece{Text: "b"})
	return &backend.Answer{Text: "ab", Tokens: 2}, &backend.Error{Host: d.Name(), Class: backend.Crashed, Message: "unexpected EOF"}
}

func TestChangesOfHostsAndModelsAreToldOnceEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		p := newPool(t, pool.Options{Hosts: named("a", "b"), Slots: 1, Retries: -1, OnChange: func(c pool.Change) {
			told = append(told, fmt.Sprintf("%s %s %v %q", c.Host, c.Model, c.Well, c.Why))
		}})
		fail := func(class backend.Class, model string) {
			for range 6 {
				_ = p.With(t.Context(), route.Need{Model: model, Host: "a"}, func(context.Context, *pool.Lease) error { return failure(class, "broken") })
			}
		}
		expect := func(what string, want ...string) {
			t.Helper()
			if !slices.Equal(told, want) {
				t.Errorf("%s: got %q, want %q", what, told, want)
			}
			told = nil
		}
		fail(backend.Server, "bad:latest")
		expect("a model fails", `a bad:latest false "failed: broken"`)
		time.Sleep(15 * time.Second)
		expect("its rest is over")
		spread(t, p, "bad:latest", 2)
		expect("it answers", `a bad:latest true ""`)
		fail(backend.Transport, "m:latest")
		if len(told) != 1 || !strings.HasPrefix(told[0], `a  false "ejected for `) || !strings.HasSuffix(told[0], `broken"`) {
			t.Errorf("a host cannot be reached: got %q", told)
		}
		told = nil
		p.Know("a", pool.Facts{Err: errors.New("refused")})
		expect("a check finds the same")
		p.Know("a", pool.Facts{Up: true})
		p.Know("a", pool.Facts{Up: true})
		expect("checks find it up, but it has not answered a call")
		spread(t, p, "m:latest", 4)
		expect("it answers", `a  true ""`)
		for range 2 {
			p.Know("b", pool.Facts{Err: errors.New("refused")})
		}
		expect("checks cannot reach a host", `b  false "refused"`)
		p.Know("b", pool.Facts{Up: true})
		expect("it is back", `b  true ""`)
	})
}

func TestGrantSaysWhyItsHostWasChosen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("a", "b"), Slots: 2})
		why := func(need route.Need, during func()) (said string) {
			need.OnGrant = func(g route.Grant) { said = g.Choice.String() }
			_ = p.With(t.Context(), need, func(_ context.Context, l *pool.Lease) error {
				during()
				return nil
			})
			return said
		}
		nothing := func() {}
		if got := why(route.Need{Model: "m:latest", Host: "a"}, nothing); got != "only host with a free slot for it; it has to load the model, 0 of 2 slots were in use" {
			t.Errorf("the only host: %s", got)
		}
		p.Know("a", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest"}}})
		if got := why(route.Need{Model: "m:latest"}, nothing); !strings.HasPrefix(got, "warmest among 2 hosts with a free slot; it has the model in memory (as 1 of them do), 0 of 2 slots were in use") {
			t.Errorf("of two: %s", got)
		}
		p.Know("b", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest"}}})
		waited := ""
		var all sync.WaitGroup
		why(route.Need{Model: "m:latest", Host: "b"}, func() {
			why(route.Need{Model: "m:latest", Host: "b"}, func() {
				all.Go(func() { waited = why(route.Need{Model: "m:latest", Host: "b"}, nothing) })
				synctest.Wait()
			})
		})
		all.Wait()
		if want := "first host with a free slot when the turn of this call came; it has the model in memory, 1 of 2 slots were in use"; waited != want {
			t.Errorf("after a wait: %s", waited)
		}
	})
}
