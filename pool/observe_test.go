package pool_test

import (
	"context"
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

// observed is a need whose events are written down.
func observed(need route.Need) (_ route.Need, events func() []string) {
	var mu sync.Mutex
	var all []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, fmt.Sprintf(format, args...))
	}
	need.OnWait = func(now route.Standing, _ func() route.Standing) { note("queued %d of %d", now.Place, now.Of) }
	need.OnGrant = func(g route.Grant) {
		note("granted %s, attempt %d, hedge %v, after %v", g.Host, g.Attempt, g.Hedge, g.Waited)
	}
	need.OnFirst = func(f route.First) {
		note("first piece from %s, attempt %d, hedge %v, after %v", f.Host, f.Attempt, f.Hedge, f.After)
	}
	need.OnRetry = func(r route.Retry) { note("retry after attempt %d on %s in %v: %v", r.Attempt, r.Host, r.In, r.Err) }
	return need, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

func assertEvents(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got the events\n%q, want\n%q", got, want)
	}
}

func TestObserverIsToldOfEachStepOfARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken, works := good("broken"), good("works")
		broken.fails = func(time.Time) *fault { return &fault{after: time.Second, class: backend.Server} }
		_, backends := machines(broken, works)
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
		var all sync.WaitGroup
		all.Go(func() { _ = p.With(t.Context(), route.Need{Host: "broken"}, hold(3*time.Second)) })
		all.Go(func() { _ = p.With(t.Context(), route.Need{Host: "works"}, hold(10*time.Second)) })
		synctest.Wait()
		need, events := observed(route.Need{Model: "m:latest"})
		if err := askWith(t.Context(), p, need, 10); err != nil {
			t.Error(err)
		}
		all.Wait()
		assertEvents(t, events(),
			"queued 1 of 1", "granted broken, attempt 1, hedge false, after 3s",
			"retry after attempt 1 on broken in 0s: broken: failed: broken",
			"queued 1 of 1", "granted works, attempt 2, hedge false, after 6s",
			"first piece from works, attempt 2, hedge false, after 10ms")
	})
}

func TestObserverIsToldOfAHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late, idle := good("late"), good("idle")
		_, backends := machines(late, idle)
		p := newPool(t, pool.Options{Hosts: backends, Slots: 1})
		for _, host := range []string{"late", "idle"} {
			if err := askWith(t.Context(), p, route.Need{Model: "m:latest", Host: host}, 10); err != nil {
				t.Fatal(err)
			}
		}
		late.fails = func(time.Time) *fault { return &fault{hangs: true} }
		need, events := observed(route.Need{Model: "m:latest", HedgeAfter: 5 * time.Second})
		if err := askWith(t.Context(), p, need, 10); err != nil {
			t.Error(err)
		}
		assertEvents(t, events(),
			"granted late, attempt 1, hedge false, after 0s", "granted idle, attempt 1, hedge true, after 0s",
			"first piece from idle, attempt 1, hedge true, after 10ms")
	})
}

func askWith(ctx context.Context, p *pool.Pool, need route.Need, tokens int) error {
	return p.With(ctx, need, func(ctx context.Context, l *pool.Lease) error {
		return generate(ctx, l.Host, need.Model, tokens)
	})
}
