package pool_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestCallThatWouldWaitPastItsDeadlineIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		err := p.With(ctx, route.Need{}, hold(0))
		if late, ok := errors.AsType[*pool.QueueTimeoutError](err); !ok || late.RetryAfter != 40*time.Second || !errors.Is(err, pool.ErrQueueTimeout) {
			t.Errorf("with 40 s before it and 30 s to go: got %v, want a QueueTimeoutError of 40 s", err)
		}
		if time.Since(began) != 0 {
			t.Error("it was told late")
		}
		// A caller who has nothing waiting is served sooner than that.
		if err := p.With(ctx, route.Need{Caller: "other"}, hold(0)); err != nil {
			t.Errorf("another caller: %v", err)
		}
		all.Wait()
	})
}

func TestCallerCannotFillTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1, Queue: 4})
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { _ = p.With(t.Context(), route.Need{Caller: "greedy"}, hold(time.Second)) })
		}
		synctest.Wait()
		err := p.With(t.Context(), route.Need{Caller: "greedy"}, hold(0))
		if full, ok := errors.AsType[*pool.FullError](err); !ok || !full.Caller || full.Waiting != 2 {
			t.Errorf("with half of the queue: got %v, want a FullError of the caller's own", err)
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
