package pool_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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

// slowAndQuick are a host that takes minutes and has the model big, and one that takes seconds
// and has the model small.
func slowAndQuick(t *testing.T, o pool.Options) *pool.Pool {
	t.Helper()
	o.Hosts, o.Slots, o.InMemory = named("slow", "quick"), 1, true
	p := newPool(t, o)
	p.Know("slow", pool.Facts{Up: true, Installed: []string{"big:latest"}})
	p.Know("quick", pool.Facts{Up: true, Installed: []string{"small:latest"}})
	return p
}

// asks makes calls at once, and returns how many of them were refused for want of room.
func asks(t *testing.T, p *pool.Pool, all *sync.WaitGroup, n int, need route.Need, takes time.Duration) (refused int) {
	t.Helper()
	var count atomic.Int64
	for range n {
		all.Go(func() {
			if _, full := errors.AsType[*pool.FullError](p.With(t.Context(), need, hold(takes))); full {
				count.Add(1)
			}
		})
		synctest.Wait()
	}
	return int(count.Load())
}

func TestFullQueueOfOneModelTakesNoPlaceFromAnother(t *testing.T) {
	for name, o := range map[string]pool.Options{
		"many callers": {Queue: 8}, "one caller": {Queue: 8, PerCaller: 8},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := slowAndQuick(t, o)
				need := func(model string) route.Need {
					return route.Need{Model: model, Caller: map[bool]string{true: "one", false: model}[o.PerCaller > 0]}
				}
				want := 8
				if o.PerCaller == 0 {
					want = 4 // the share of a caller
				}
				var all sync.WaitGroup
				if refused := asks(t, p, &all, 20, need("big:latest"), time.Minute); refused != 20-1-want {
					t.Errorf("%d of 20 calls for the slow host were refused, want %d", refused, 20-1-want)
				}
				began := time.Now()
				var quick sync.WaitGroup
				if refused := asks(t, p, &quick, 1+want, need("small:latest"), time.Second); refused != 0 {
					t.Errorf("%d calls for the quick host were refused", refused)
				}
				if refused := asks(t, p, &quick, 1, need("small:latest"), time.Second); refused != 1 {
					t.Error("its queue has no bound")
				}
				quick.Wait()
				if took := time.Since(began); took != time.Duration(1+want)*time.Second {
					t.Errorf("the quick host took %v", took)
				}
				all.Wait()
			})
		})
	}
}

func TestQueuesOfAllModelsTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1, Queue: 4, PerCaller: 4})
		var all sync.WaitGroup
		refused := 0
		for n := range 10 {
			refused += asks(t, p, &all, 4, route.Need{Model: fmt.Sprint("m", n)}, time.Minute)
		}
		if waiting := p.Stats().Queue.Waiting; waiting != 16 || refused != 40-1-16 {
			t.Errorf("%d wait, and %d were refused", waiting, refused)
		}
		all.Wait()
	})
}

// The wait is that behind calls which could take the same slot, and takes as long as they do.
func TestExpectedWaitIsThatBehindCallsForTheSameHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := slowAndQuick(t, pool.Options{Queue: 8, PerCaller: 8})
		var all sync.WaitGroup
		for range 16 { // so that both are known
			all.Go(func() { _ = p.With(t.Context(), route.Need{Model: "small:latest"}, hold(time.Second)) })
			all.Wait()
			all.Go(func() { _ = p.With(t.Context(), route.Need{Model: "big:latest"}, hold(time.Minute)) })
			all.Wait()
		}
		asks(t, p, &all, 9, route.Need{Model: "big:latest"}, time.Minute)
		asks(t, p, &all, 2, route.Need{Model: "small:latest"}, time.Second)
		var told route.Standing
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := p.With(ctx, route.Need{Model: "small:latest", OnWait: func(now route.Standing, _ func() route.Standing) { told = now }}, hold(time.Second))
		if err != nil || told.Expect != 2*time.Second || told.Place != 2 {
			t.Errorf("got %v, and was told %+v, want 2s", err, told)
		}
		all.Wait()
	})
}
