package pool_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// host is only a name here: the pool never asks a host anything.
type host struct {
	backend.Backend
	name string
}

func (h host) Name() string { return h.name }

func newPool(t testing.TB, o pool.Options) *pool.Pool {
	t.Helper()
	if o.Hosts == nil {
		o.Hosts = []backend.Backend{host{name: "gpu-1"}}
	}
	p, err := pool.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// hold keeps a slot for d.
func hold(d time.Duration) func(context.Context, *pool.Lease) error {
	return func(context.Context, *pool.Lease) error {
		time.Sleep(d)
		return nil
	}
}

func TestNewNamesTheFieldThatCannotWork(t *testing.T) {
	for name, o := range map[string]pool.Options{
		"too many slots":   {Hosts: []backend.Backend{host{}}, Slots: 1 << 20},
		"negative slots":   {Hosts: []backend.Backend{host{}}, Slots: -1},
		"negative queue":   {Hosts: []backend.Backend{host{}}, Queue: -1},
		"negative in size": {Hosts: []backend.Backend{host{}}, QueueBytes: -1},
	} {
		if _, err := pool.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestNoMoreRequestsThanSlotsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 3})
		var busy, most atomic.Int64
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				err := p.With(t.Context(), route.Need{}, func(context.Context, *pool.Lease) error {
					most.Store(max(most.Load(), busy.Add(1)))
					time.Sleep(time.Second)
					busy.Add(-1)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		began := time.Now()
		all.Wait()
		if most.Load() != 3 {
			t.Errorf("%d at once, want 3", most.Load())
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("30 requests of 1 s on 3 slots took %v, want 10s", took)
		}
	})
}

func TestRequestBeyondTheQueueIsRefusedAtOnceWithAnHonestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1, Queue: 2, PerCaller: 9})
		if err := p.With(t.Context(), route.Need{}, hold(8*time.Second)); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 3 { // one holds the slot, two wait
			all.Go(func() { _ = p.With(t.Context(), route.Need{}, hold(8*time.Second)) })
		}
		synctest.Wait()

		began := time.Now()
		err := p.With(t.Context(), route.Need{}, hold(0))
		full, ok := errors.AsType[*pool.FullError](err)
		if !ok {
			t.Fatalf("got %v, want a FullError", err)
		}
		if full.Waiting != 2 || full.RetryAfter != 8*time.Second || full.Caller {
			t.Errorf("got %+v, want 2 waiting and a place in 8s", full)
		}
		if time.Since(began) != 0 {
			t.Error("the refusal took time")
		}
		all.Wait()
	})
}

func TestQueueIsBoundedInBytesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1, QueueBytes: 100})
		var all sync.WaitGroup
		all.Go(func() { _ = p.With(t.Context(), route.Need{Bytes: 1000}, hold(time.Second)) })
		synctest.Wait() // it has the slot: its size counts no more
		all.Go(func() { _ = p.With(t.Context(), route.Need{Bytes: 60}, hold(time.Second)) })
		synctest.Wait()

		err := p.With(t.Context(), route.Need{Bytes: 60}, hold(0))
		if _, ok := errors.AsType[*pool.FullError](err); !ok {
			t.Errorf("60 and 60 of 100 bytes: got %v, want a FullError", err)
		}
		all.Go(func() {
			if err := p.With(t.Context(), route.Need{Bytes: 40}, hold(0)); err != nil {
				t.Errorf("60 and 40 of 100 bytes: %v", err)
			}
		})
		all.Wait()
	})
}

func TestWaitingRequestKnowsItsPlaceAndItsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1})
		if err := p.With(t.Context(), route.Need{}, hold(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() { _ = p.With(t.Context(), route.Need{}, hold(10*time.Second)) })
		synctest.Wait()

		standings := make([]func() route.Standing, 2)
		for i := range standings {
			all.Go(func() {
				need := route.Need{OnWait: func(_ route.Standing, later func() route.Standing) { standings[i] = later }}
				_ = p.With(t.Context(), need, hold(10*time.Second))
			})
			synctest.Wait()
		}
		if got, want := standings[1](), (route.Standing{Place: 2, Of: 2, Expect: 20 * time.Second}); got != want {
			t.Errorf("at first: got %+v, want %+v", got, want)
		}
		time.Sleep(15 * time.Second)
		if got, want := standings[1](), (route.Standing{Place: 1, Of: 1, Expect: 10 * time.Second}); got != want {
			t.Errorf("once the one before is served: got %+v, want %+v", got, want)
		}
		all.Wait()
		if got := standings[1](); got.Place != 0 {
			t.Errorf("when served: got %+v, want place 0", got)
		}
	})
}

func TestRequestThatHasJustComeIsToldItsPlaceUnderFairSharing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1})
		var all sync.WaitGroup
		all.Go(func() { _ = p.With(t.Context(), route.Need{Caller: "a"}, hold(time.Second)) })
		synctest.Wait()
		for i, tc := range []struct {
			need  route.Need
			place int
		}{
			{route.Need{Caller: "a"}, 1},
			{route.Need{Caller: "a"}, 2},
			{route.Need{Caller: "a"}, 3},
			{route.Need{Caller: "b"}, 2}, // one of a's may go before
			{route.Need{Caller: "b"}, 4},
			{route.Need{Caller: "c", Priority: route.Batch}, 6},
		} {
			all.Go(func() {
				tc.need.OnWait = func(now route.Standing, later func() route.Standing) {
					if now.Place != tc.place || now.Of != i+1 || now != later() {
						t.Errorf("request %d is told %+v, and then %+v, want place %d of %d", i, now, later(), tc.place, i+1)
					}
				}
				_ = p.With(t.Context(), tc.need, hold(time.Second))
			})
			synctest.Wait()
		}
		all.Wait()
	})
}

func TestWaitingRequestCanLeaveAndTakesNoSlotAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1})
		var all sync.WaitGroup
		all.Go(func() { _ = p.With(t.Context(), route.Need{}, hold(time.Minute)) })
		synctest.Wait()

		ctx, cancel := context.WithCancel(t.Context())
		all.Go(func() {
			err := p.With(ctx, route.Need{}, func(context.Context, *pool.Lease) error {
				t.Error("a request that left was served")
				return nil
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
		})
		synctest.Wait()
		cancel()
		all.Wait()
		if err := p.With(t.Context(), route.Need{}, hold(0)); err != nil {
			t.Errorf("the next request: %v", err)
		}
	})
}

func TestDeadlineInTheQueueIsAQueueTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1})
		var all sync.WaitGroup
		all.Go(func() { _ = p.With(t.Context(), route.Need{}, hold(time.Minute)) })
		synctest.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		err := p.With(ctx, route.Need{}, hold(0))
		if late, ok := errors.AsType[*pool.QueueTimeoutError](err); !ok || late.RetryAfter != 0 || err.Error() != "no slot came free in time" {
			t.Errorf("got %v, want a QueueTimeoutError that knows no better", err)
		}
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("waited %v, want 5s", waited)
		}
		if err := p.With(ctx, route.Need{}, hold(0)); !errors.Is(err, pool.ErrQueueTimeout) {
			t.Errorf("with its time over before it came: got %v, want ErrQueueTimeout", err)
		}
		all.Wait()
	})
}

func TestSlotComesBackFromABorrowerThatPanics(t *testing.T) {
	p := newPool(t, pool.Options{Slots: 1})
	func() {
		defer func() { _ = recover() }()
		_ = p.With(t.Context(), route.Need{}, func(context.Context, *pool.Lease) error { panic("borrower") })
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.With(ctx, route.Need{}, hold(0)); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

// Whatever mix of requests comes, leaves, is hedged and runs out of time, each ends once,
// never more than the slots are lent, and in the end every slot is back.
func TestNoSlotIsLostOrLentTwice(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		slots := rapid.IntRange(1, 4).Draw(r, "slots")
		hosts := rapid.SampledFrom([][]string{{"a"}, {"a", "b"}}).Draw(r, "hosts")
		queue := rapid.IntRange(1, 8).Draw(r, "queue")
		type visit struct{ arrives, holds, patience, hedge time.Duration }
		visits := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) visit {
			upTo := func(limit int, label string) time.Duration {
				return time.Duration(rapid.IntRange(0, limit).Draw(r, label)) * time.Second
			}
			return visit{upTo(20, "arrives"), upTo(10, "holds"), upTo(10, "patience"), upTo(5, "hedge")}
		}), 1, 40).Draw(r, "visits")

		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Hosts: named(hosts...), Slots: slots, Queue: queue})
			busy := map[string]*atomic.Int64{"a": new(atomic.Int64), "b": new(atomic.Int64)}
			var all sync.WaitGroup
			for _, v := range visits {
				all.Go(func() {
					time.Sleep(v.arrives)
					ctx, cancel := context.WithTimeout(t.Context(), v.patience)
					defer cancel()
					var mine atomic.Int64
					_ = p.With(ctx, route.Need{HedgeAfter: v.hedge}, func(ctx context.Context, l *pool.Lease) error {
						on := busy[l.Host.Name()]
						if n := on.Add(1); n > int64(slots) {
							t.Errorf("%d at once on %d slots", n, slots)
						}
						defer on.Add(-1)
						if n := mine.Add(1); n > 2 {
							t.Errorf("%d tries of one request at once", n)
						}
						defer mine.Add(-1)
						return after(ctx, v.holds, nil)
					})
					if n := mine.Load(); n != 0 {
						t.Errorf("%d tries go on when With has returned", n)
					}
				})
			}
			all.Wait()
			assertEachIsCountedOnce(t, p.Stats())
			assertAllSlots(t, p, "", slots*len(hosts))
		})
	})
}

func TestIdleSlotCostsAtMostTwoAllocations(t *testing.T) {
	p := newPool(t, pool.Options{})
	use := func(context.Context, *pool.Lease) error { return nil }
	got := testing.AllocsPerRun(1000, func() {
		if err := p.With(t.Context(), route.Need{}, use); err != nil {
			t.Error(err)
		}
	})
	if got > 2 {
		t.Errorf("%v allocations to take an idle slot and give it back", got)
	}
}

func BenchmarkTakeAndGiveBack(b *testing.B) {
	p := newPool(b, pool.Options{})
	use := func(context.Context, *pool.Lease) error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		if err := p.With(b.Context(), route.Need{}, use); err != nil {
			b.Fatal(err)
		}
	}
}

// Ten thousand calls of twenty models and two hundred callers wait for four hosts;
// each that is served comes back at once.
func BenchmarkServeWithTenThousandWaiting(b *testing.B) {
	p := newPool(b, pool.Options{Hosts: named("a", "b", "c", "d"), Slots: 1, Queue: 20_000, PerCaller: 20_000})
	ctx, stop := context.WithCancel(b.Context())
	var served atomic.Int64
	var all sync.WaitGroup
	for i := range 10_004 {
		need := route.Need{Model: fmt.Sprint("model-", i%20), Caller: fmt.Sprint("caller-", i%200)}
		need.OnWait = func(_ route.Standing, later func() route.Standing) { later() }
		all.Go(func() {
			for ctx.Err() == nil {
				_ = p.With(ctx, need, func(context.Context, *pool.Lease) error {
					served.Add(1)
					return nil
				})
			}
		})
	}
	for p.Stats().Queue.Waiting < 9_000 {
		runtime.Gosched()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for first := served.Load(); served.Load() < first+int64(b.N); {
		time.Sleep(time.Millisecond)
	}
	b.StopTimer()
	stop()
	all.Wait()
}
