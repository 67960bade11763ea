package pool_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// after returns err when d has passed, and how a host's call ends if its context ends first.
func after(ctx context.Context, d time.Duration, err error) error {
	select {
	case <-time.After(d):
		return err
	case <-ctx.Done():
		return &backend.Error{Class: backend.Caller, Err: ctx.Err()}
	}
}

// hedged asks two hosts, of which the second is idle, with a hedge after 5 s. It is use
// that says what they do; each host is asked for at most once.
func hedged(t *testing.T, p *pool.Pool, use map[string]func(context.Context) error) (took time.Duration, asked []string, err error) {
	t.Helper()
	var mu sync.Mutex
	began := time.Now()
	err = p.With(t.Context(), route.Need{Model: "m:latest", HedgeAfter: 5 * time.Second}, func(ctx context.Context, l *pool.Lease) error {
		name := l.Host.Name()
		mu.Lock()
		asked = append(asked, name)
		mu.Unlock()
		if l.Hedge != (name == "gpu-2") || l.Attempt != 1 {
			t.Errorf("%s was lent with Hedge %v for try %d", name, l.Hedge, l.Attempt)
		}
		return use[name](ctx)
	})
	return time.Since(began), asked, err
}

// lasts is a use that ends with err after d.
func lasts(d time.Duration, err error) func(context.Context) error {
	return func(ctx context.Context) error { return after(ctx, d, err) }
}

// warmPair is a pool of two hosts that hold the model.
func warmPair(t *testing.T, o pool.Options) *pool.Pool {
	t.Helper()
	if o.Hosts == nil {
		o.Hosts = named("gpu-1", "gpu-2")
	}
	o.Slots = 1
	p := newPool(t, o)
	for _, h := range o.Hosts {
		p.Know(h.Name(), pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest", NumCtx: 4096}}})
	}
	return p
}

func TestIdleHostAnswersForOneThatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPair(t, pool.Options{})
		var cause error
		took, asked, err := hedged(t, p, map[string]func(context.Context) error{
			"gpu-1": func(ctx context.Context) error {
				err := after(ctx, time.Hour, nil)
				cause = context.Cause(ctx)
				return err
			},
			"gpu-2": lasts(2*time.Second, nil),
		})
		if err != nil || took != 7*time.Second || len(asked) != 2 {
			t.Errorf("got %v after %v from %v, want an answer of gpu-2 after 7s", err, took, asked)
		}
		if !errors.Is(cause, pool.ErrTooSlow) {
			t.Errorf("the first try ended with %v, want ErrTooSlow", cause)
		}
		s := p.Stats()
		if s.Hedged != 1 || s.HedgesWon != 1 || s.Served != 1 || s.Failed != 0 || s.InFlight != 0 {
			t.Errorf("counted %+v", s.Totals)
		}
		if late := s.Hosts[0]; late.Why != "" || late.Latency != 0 {
			t.Errorf("the host that was overtaken after 7s is held to be %q, its latency %v, want nothing known", late.Why, late.Latency)
		}
	})
}

func TestFirstHostWinsIfItAnswersBeforeItsHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPair(t, pool.Options{})
		took, asked, err := hedged(t, p, map[string]func(context.Context) error{
			"gpu-1": lasts(6*time.Second, nil), "gpu-2": lasts(time.Hour, nil),
		})
		if err != nil || took != 6*time.Second || len(asked) != 2 {
			t.Errorf("got %v after %v from %v, want an answer of gpu-1 after 6s", err, took, asked)
		}
		if s := p.Stats(); s.Hedged != 1 || s.HedgesWon != 0 || s.Served != 1 || s.InFlight != 0 {
			t.Errorf("counted %+v", s.Totals)
		}
	})
}

func TestOneOfTwoThatFailsLeavesTheAnswerToTheOther(t *testing.T) {
	broken := failure(backend.Server, "broken")
	for name, use := range map[string]map[string]func(context.Context) error{
		"the first": {"gpu-1": lasts(6*time.Second, broken), "gpu-2": lasts(5*time.Second, nil)},
		"the hedge": {"gpu-1": lasts(10*time.Second, nil), "gpu-2": lasts(time.Second, broken)},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := warmPair(t, pool.Options{})
			took, _, err := hedged(t, p, use)
			if err != nil || took != 10*time.Second {
				t.Errorf("%s fails: got %v after %v, want an answer after 10s", name, err, took)
			}
			if s := p.Stats(); s.Served != 1 || s.Failed != 0 || s.TriesFailed != 1 || s.Retried != 0 {
				t.Errorf("%s fails: counted %+v", name, s.Totals)
			}
		})
	}
}

func TestBothThatFailAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPair(t, pool.Options{Retries: -1})
		_, _, err := hedged(t, p, map[string]func(context.Context) error{
			"gpu-1": lasts(10*time.Second, failure(backend.Transport, "cut")),
			"gpu-2": lasts(time.Second, failure(backend.Server, "out of memory")),
		})
		const want = "no host available (gpu-1: cut, gpu-2: out of memory)"
		if err == nil || err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	})
}

func TestFailureThatNoOtherHostCouldCureEndsTheRequestWhicheverHostSaysSo(t *testing.T) {
	wrong := failure(backend.Request, "bad option")
	for name, use := range map[string]map[string]func(context.Context) error{
		"the first": {"gpu-1": lasts(10*time.Second, wrong), "gpu-2": lasts(time.Second, failure(backend.Server, "broken"))},
		"the hedge": {"gpu-1": lasts(10*time.Second, failure(backend.Server, "broken")), "gpu-2": lasts(time.Second, wrong)},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, asked, err := hedged(t, warmPair(t, pool.Options{}), use)
			if err != wrong || len(asked) != 2 {
				t.Errorf("%s: got %v after asking %v, want %v", name, err, asked, wrong)
			}
		})
	}
}

func TestNoHedge(t *testing.T) {
	need := route.Need{Model: "m:latest", HedgeAfter: 5 * time.Second}
	for name, c := range map[string]struct {
		set  func(p *pool.Pool, n *route.Need)
		asks bool // the host answers piece by piece
	}{
		"if none is wanted":              {set: func(_ *pool.Pool, n *route.Need) { n.HedgeAfter = 0 }},
		"where one host alone may serve": {set: func(_ *pool.Pool, n *route.Need) { n.Host = "gpu-1" }},
		"without another host":           {set: func(p *pool.Pool, _ *route.Need) { p.Remove("gpu-2") }},
		"from a host that is down":       {set: func(p *pool.Pool, _ *route.Need) { p.Know("gpu-2", pool.Facts{}) }},
		"from a host that would have to load the model": {set: func(p *pool.Pool, _ *route.Need) {
			p.Know("gpu-2", pool.Facts{Up: true, Loaded: []pool.Loaded{}})
		}},
		"once the answer has begun": {asks: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			slow := newMachine(&machine{name: "gpu-1", parallel: 1, perToken: time.Second})
			p, n := warmPair(t, pool.Options{Hosts: []backend.Backend{slow, host{name: "gpu-2"}}}), need
			if c.set != nil {
				c.set(p, &n)
			}
			err := p.With(t.Context(), n, func(ctx context.Context, l *pool.Lease) error {
				if c.asks {
					return generate(ctx, l.Host, "m:latest", 20)
				}
				return after(ctx, 20*time.Second, nil)
			})
			if s := p.Stats(); err != nil || s.Hedged != 0 || s.RetriesLeft != 10 {
				t.Errorf("%s: got %v with %d hedges and %d retries left, want no hedge and 10 left", name, err, s.Hedged, s.RetriesLeft)
			}
		})
	}
}

func TestHedgesStayWithinTheBudgetForRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 64})
		var all sync.WaitGroup
		var most atomic.Int64
		for range 40 { // all at once: a fifth of them, and ten
			var uses atomic.Int64
			all.Go(func() {
				err := p.With(t.Context(), route.Need{HedgeAfter: time.Second}, func(ctx context.Context, _ *pool.Lease) error {
					most.Store(max(most.Load(), uses.Add(1)))
					return after(ctx, 9*time.Second, nil)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if s := p.Stats(); s.Hedged != 18 || most.Load() != 2 {
			t.Errorf("%d hedges, at most %d tries at once, want 18 and 2", s.Hedged, most.Load())
		}
	})
}

func TestNobodyIsHedgedWhileOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := warmPair(t, pool.Options{})
		var all sync.WaitGroup
		for _, need := range []route.Need{
			{Model: "m:latest", HedgeAfter: time.Second}, // takes gpu-1
			{Model: "m:latest", Host: "gpu-1"},           // waits for it
		} {
			all.Go(func() {
				if err := p.With(t.Context(), need, hold(8*time.Second)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if n := p.Stats().Hedged; n != 0 {
			t.Errorf("%d hedges while a call waited", n)
		}
	})
}

func TestPanicOfEitherTryReachesTheCallerAfterBothHaveEnded(t *testing.T) {
	for panics, left := range map[string]string{"gpu-1": "gpu-2", "gpu-2": "gpu-1"} {
		synctest.Test(t, func(t *testing.T) {
			p := warmPair(t, pool.Options{})
			var ended atomic.Bool
			panicked := func() (v any) {
				defer func() { v = recover() }()
				_, _, _ = hedged(t, p, map[string]func(context.Context) error{
					panics: func(ctx context.Context) error {
						_ = after(ctx, 10*time.Second, nil)
						panic("borrower")
					},
					left: func(ctx context.Context) error {
						defer ended.Store(true)
						return after(ctx, time.Hour, nil)
					},
				})
				return nil
			}()
			if panicked != "borrower" || !ended.Load() {
				t.Errorf("%s panics: recovered %v, the other ended %v", panics, panicked, ended.Load())
			}
			assertAllSlots(t, p, "", 2)
		})
	}
}

func TestHostThatIsAlwaysOvertakenIsPutOutInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts, backends := machines(good("a"), good("b"))
		hosts[0].fails = func(time.Time) *fault { return &fault{hangs: true} }
		p := warmPair(t, pool.Options{Hosts: backends})
		for range 20 {
			err := p.With(t.Context(), route.Need{Model: "m:latest", HedgeAfter: 10 * time.Second}, func(ctx context.Context, l *pool.Lease) error {
				return generate(ctx, l.Host, "m:latest", 100)
			})
			if err != nil {
				t.Error(err)
			}
			time.Sleep(20 * time.Second) // it is doubted no more
		}
		if s := p.Stats().Hosts[0]; s.Breaker == "closed" {
			t.Errorf("a host that never answers is held to be well")
		}
	})
}

// Two hosts, idle: what the hedge timer costs a call that is in time.
func BenchmarkTakeAndGiveBackWithAHedgeInReserve(b *testing.B) {
	p := newPool(b, pool.Options{Hosts: named("a", "b")})
	use := func(context.Context, *pool.Lease) error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		if err := p.With(b.Context(), route.Need{HedgeAfter: time.Minute}, use); err != nil {
			b.Fatal(err)
		}
	}
}
