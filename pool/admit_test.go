package pool_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestCallThatWouldWaitPastItsDeadlineIsToldAtOnce(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode deadlineMode) {
		p := newPool(t, pool.Options{Slots: 1})
		for range 20 { // the pace is known
			if err := p.With(t.Context(), route.Need{}, hold(10*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { _ = p.With(t.Context(), route.Need{}, hold(10*time.Second)) })
		}
		synctest.Wait()
		began := time.Now()
		err := mode.with(t, p, route.Need{}, 30*time.Second, hold(0))
		if late, ok := errors.AsType[*pool.QueueTimeoutError](err); !ok || late.RetryAfter != 40*time.Second || !errors.Is(err, pool.ErrQueueTimeout) {
			t.Errorf("with 40 s before it and 30 s to go: got %v, want a QueueTimeoutError of 40 s", err)
		}
		if time.Since(began) != 0 {
			t.Error("it was told late")
		}
		if err := mode.with(t, p, route.Need{}, 44*time.Second, hold(0)); !errors.Is(err, pool.ErrQueueTimeout) || time.Since(began) != 0 {
			t.Errorf("with 4 s left for a call of 10 s: got %v after %v, want a QueueTimeoutError at once", err, time.Since(began))
		}
		// A caller who has nothing waiting is served sooner than that.
		if err := mode.with(t, p, route.Need{Caller: "other"}, 30*time.Second, hold(0)); err != nil {
			t.Errorf("another caller: %v", err)
		}
		all.Wait()
	})
}

func TestCallerCannotFillTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1, Queue: 4})
		if err := p.With(t.Context(), route.Need{}, hold(8*time.Second)); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { _ = p.With(t.Context(), route.Need{Caller: "greedy"}, hold(time.Second)) })
		}
		synctest.Wait()
		err := p.With(t.Context(), route.Need{Caller: "greedy"}, hold(0))
		if full, ok := errors.AsType[*pool.FullError](err); !ok || !full.Caller || full.Waiting != 2 || full.RetryAfter != 8*time.Second {
			t.Errorf("with half of the queue: got %+v, want a FullError of the caller's own and a place in 8s", err)
		}
		if err := p.With(t.Context(), route.Need{Caller: "modest"}, hold(0)); err != nil {
			t.Errorf("another caller: %v", err)
		}
		all.Wait()
	})
}

func TestAllHostsTogetherAreBoundedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 4, MaxInFlight: 3})
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				if err := p.With(t.Context(), route.Need{}, hold(time.Second)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if busy := p.Stats().InFlight; busy != 3 {
			t.Errorf("%d at once, want 3", busy)
		}
		all.Wait()
	})
}

func TestCallWhoseTimeIsTooShortWhenItsTurnComesTakesNoSlot(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode deadlineMode) {
		p := newPool(t, pool.Options{Slots: 1})
		for range 20 { // the pace is known
			if err := p.With(t.Context(), route.Need{}, hold(10*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		var all sync.WaitGroup
		all.Go(func() { _ = p.With(t.Context(), route.Need{}, hold(28*time.Second)) })
		synctest.Wait()
		for name, c := range map[string]struct {
			limit  time.Duration
			served bool
		}{
			"with 2 s to go": {30 * time.Second, false},
			"with 6 s to go": {34 * time.Second, true}, // more than half of what a call takes
		} {
			all.Go(func() {
				err := mode.with(t, p, route.Need{Caller: name}, c.limit, hold(0))
				if served := err == nil; served != c.served || !served && !errors.Is(err, pool.ErrQueueTimeout) {
					t.Errorf("%s: got %v", name, err)
				}
				if waited := time.Since(began); waited != 28*time.Second {
					t.Errorf("%s: it waited %v, want 28s", name, waited)
				}
			})
		}
		all.Wait()
		if s := p.Stats(); s.Refused != 1 || s.Queue.Waiting != 0 {
			t.Errorf("after all is over: %+v", s)
		}
	})
}
