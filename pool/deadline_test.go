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

// deadlineMode is a way in which the deadline of a request reaches the pool.
type deadlineMode string

const (
	// cacheOff is how a call arrives that shares its answer with nobody: its context has
	// the deadline of its caller.
	cacheOff deadlineMode = "cache off"
	// cacheOn is how the call of a cache fill arrives, as by default: its context has no
	// deadline, since callers may join whose own are later.
	cacheOn deadlineMode = "cache on"
)

var deadlineModes = []deadlineMode{cacheOff, cacheOn}

// limit gives a request so much time.
func (m deadlineMode) limit(ctx context.Context, need route.Need, d time.Duration) (context.Context, route.Need, context.CancelFunc) {
	if m == cacheOff {
		ctx, cancel := context.WithTimeout(ctx, d)
		return ctx, need, cancel
	}
	at := time.Now().Add(d)
	need.Deadline = func() time.Time { return at }
	ctx, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(d, func() { end(context.DeadlineExceeded) })
	return ctx, need, func() {
		timer.Stop()
		end(nil)
	}
}

// with makes a call that has so much time.
func (m deadlineMode) with(t *testing.T, l lender, need route.Need, d time.Duration, use func(context.Context, *pool.Lease) error) error {
	ctx, need, cancel := m.limit(t.Context(), need, d)
	defer cancel()
	return l.With(ctx, need, use)
}

func inEachMode(t *testing.T, test func(t *testing.T, mode deadlineMode)) {
	for _, mode := range deadlineModes {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, mode) })
		})
	}
}

func TestDeadlineEndsTheWaitAndTheCallAsATimeout(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode deadlineMode) {
		p := newPool(t, pool.Options{Slots: 1})
		var all sync.WaitGroup
		all.Go(func() {
			err := mode.with(t, p, route.Need{}, 10*time.Second, func(ctx context.Context, _ *pool.Lease) error {
				<-ctx.Done()
				if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
					t.Errorf("the context of the call ended because of %v, want a timeout", cause)
				}
				return failure(backend.Caller, "late")
			})
			if !errors.Is(err, backend.Caller) {
				t.Errorf("got %v, want what the call returned", err)
			}
		})
		synctest.Wait()
		began := time.Now()
		if err := mode.with(t, p, route.Need{}, 5*time.Second, hold(0)); !errors.Is(err, pool.ErrQueueTimeout) {
			t.Errorf("in the queue: got %v, want a queue timeout", err)
		}
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("waited %v, want 5s", waited)
		}
		if err := mode.with(t, p, route.Need{}, 0, hold(0)); !errors.Is(err, pool.ErrQueueTimeout) {
			t.Errorf("with no time left: got %v, want a queue timeout", err)
		}
		all.Wait()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("the call ended after %v, want 10s", took)
		}
		if s := p.Stats(); s.GaveUp != 2 || s.Cancelled != 1 || s.InFlight != 0 {
			t.Errorf("afterwards: %+v", s.Totals)
		}
	})
}

// A retry in 30 s is worth it only with the deadline that the request has by then.
func TestDeadlineThatMovesLaterIsHeeded(t *testing.T) {
	for moves, tries := range map[time.Duration]int{0: 1, time.Minute: 2} {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Slots: 1})
			at, tried := time.Now().Add(10*time.Second), 0
			need := route.Need{Deadline: func() time.Time { return at }}
			err := p.With(t.Context(), need, func(context.Context, *pool.Lease) error {
				if tried++; tried > 1 {
					return nil
				}
				at = at.Add(moves)
				return &backend.Error{Class: backend.Overload, RetryAfter: 30 * time.Second}
			})
			if tried != tries || (err == nil) != (tries > 1) {
				t.Errorf("the deadline moves by %v: %d tries, and %v", moves, tried, err)
			}
		})
	}
}

func TestTimeoutIsToldFromACallerWhoLeftByTheCauseOfTheContext(t *testing.T) {
	for name, c := range map[string]struct {
		cause   error
		breaker string
	}{
		"timeout":         {context.DeadlineExceeded, "open"},
		"wrapped timeout": {fmt.Errorf("the last waiter's time is over: %w", context.DeadlineExceeded), "open"},
		"cancelled":       {context.Canceled, "closed"},
		"no cause":        {nil, "closed"},
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
				timer := time.AfterFunc(40*time.Second, func() { cancel(c.cause) })
				_ = ask(ctx, p, "m:latest", 1)
				timer.Stop()
			}
			s := p.Stats()
			if got := s.Hosts[0].Breaker; got != c.breaker {
				t.Errorf("%s: the breaker is %s, want %s", name, got, c.breaker)
			}
			if failed := s.TriesFailed; failed > 0 != (c.breaker == "open") {
				t.Errorf("%s: %d tries count as failed", name, failed)
			}
		})
	}
}

// The runner of one host is stuck, though its Ollama answers checks.
func TestHostThatHangsIsEjectedAndCostsFewCalls(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode deadlineMode) {
		hung := good("hung")
		_, backends := machines(hung, good("well"))
		p := newPool(t, pool.Options{Hosts: backends, Slots: 4})
		for range 4 {
			if err := ask(t.Context(), p, "m:latest", 10); err != nil {
				t.Fatal(err)
			}
		}
		hung.fails = func(time.Time) *fault { return &fault{hangs: true} }
		failed := 0
		for range 30 {
			p.Know("hung", pool.Facts{Up: true})
			err := mode.with(t, p, route.Need{Model: "m:latest"}, 40*time.Second, func(ctx context.Context, l *pool.Lease) error {
				return generate(ctx, l.Host, "m:latest", 10)
			})
			if err != nil {
				failed++
			}
		}
		if s := p.Stats(); failed > 6 || failed == 0 {
			t.Errorf("%d of 30 calls failed, %d tries count, and the breaker is %s", failed, s.TriesFailed, s.Hosts[0].Breaker)
		}
	})
}

func TestRetryThatWouldOutlastTheDeadlineIsRefusedAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		takes time.Duration // by a call of late
	}{
		"the host asks for 30 s": {err: &backend.Error{Class: backend.Overload, RetryAfter: 30 * time.Second}},
		"a call takes 20 s":      {err: failure(backend.Server, "broken"), takes: 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inEachMode(t, func(t *testing.T, mode deadlineMode) {
				p := newPool(t, pool.Options{Slots: 1})
				if err := p.With(t.Context(), route.Need{}, hold(c.takes)); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				var asked []string
				err := mode.with(t, p, route.Need{}, 10*time.Second, onHosts(&asked, map[string]error{"gpu-1": c.err}))
				if !errors.Is(err, c.err) || !slices.Equal(asked, []string{"gpu-1"}) || time.Since(began) > 0 {
					t.Errorf("got %v from %v after %v, want the failure at once", err, asked, time.Since(began))
				}
			})
		})
	}
}
