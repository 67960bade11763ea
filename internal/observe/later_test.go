package observe_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/observe"
)

// book is an observer that notes the numbers of calls.
type book struct {
	mu    sync.Mutex
	calls []uint64
}

func (b *book) Done(r inference.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, r.Call)
}

func (b *book) told() []uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

func TestObserverIsToldOfCallsLaterAndInTheirOrder(t *testing.T) {
	for name, tt := range map[string]struct {
		calls int
		told  int // at once
	}{
		"a call": {calls: 1},
		"some":   {calls: 63},
		"many":   {calls: 64, told: 64},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := new(book)
				later := observe.NewLater(b)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var work sync.WaitGroup
				work.Go(func() { later.Run(ctx) })
				call := func(n int) { later.Done(inference.Record{Call: uint64(n)}) }
				want := func(when string, n int) {
					t.Helper()
					synctest.Wait()
					told := b.told()
					for i, call := range told {
						if call != uint64(i) {
							t.Errorf("%s call %d is told as the %dth", when, call, i)
						}
					}
					if len(told) != n {
						t.Errorf("%s it has been told of %d calls, want %d", when, len(told), n)
					}
				}
				for n := range tt.calls {
					call(n)
				}
				want("at once", tt.told)
				time.Sleep(50 * time.Millisecond)
				want("after 50 ms", tt.calls)
				call(tt.calls)
				later.Flush()
				want("when somebody looks", tt.calls+1)
				call(tt.calls + 1)
				cancel()
				work.Wait()
				want("at the end", tt.calls+2)
			})
		})
	}
}

// Nobody has to run it for its memory to stay bounded.
func TestCallsThatWaitAreBoundedAndHaveNoTexts(t *testing.T) {
	b := new(book)
	later := observe.NewLater(b)
	for n := range 2000 {
		later.Done(inference.Record{Call: uint64(n)})
	}
	if n := len(b.told()); n != 1024 {
		t.Errorf("of 2000 calls it has been told of %d, want 1024", n)
	}
	for n, texts := range []inference.Asked{{Request: new(inference.Request)}, {Texts: []string{"one"}}} {
		later.Done(inference.Record{Asked: texts})
		if told := len(b.told()); told != 2001+n {
			t.Errorf("after one with texts it has been told of %d, want %d", told, 2001+n)
		}
	}
}

func TestObserverIsToldOfEachCallOnceHoweverManyEndAtATime(t *testing.T) {
	b := new(book)
	later := observe.NewLater(b)
	ctx, cancel := context.WithCancel(t.Context())
	var work, callers sync.WaitGroup
	work.Go(func() { later.Run(ctx) })
	for who := range 8 {
		callers.Go(func() {
			for n := range 1000 {
				later.Done(inference.Record{Call: uint64(who*1000 + n)})
				if n%100 == 0 {
					later.Flush()
				}
			}
		})
	}
	callers.Wait()
	cancel()
	work.Wait()
	told := b.told()
	slices.Sort(told)
	if all := slices.Compact(slices.Clone(told)); len(told) != 8000 || len(all) != 8000 {
		t.Errorf("it has been told %d times, of %d calls", len(told), len(all))
	}
}

// A call waits while its record is handed over.
func TestHandingOverCostsNoMemory(t *testing.T) {
	later := observe.NewLater(observe.All())
	if n := testing.AllocsPerRun(1000, func() {
		later.Done(inference.Record{})
		later.Flush()
	}); n != 0 {
		t.Errorf("%v allocations for a call", n)
	}
}

func TestEventsAreToldAtOnce(t *testing.T) {
	var prompts []string
	told := 0
	if _, ok := observe.NewLater(done{&prompts}).Observer().(inference.Watcher); ok {
		t.Error("it is told of events, which nobody wants to know")
	}
	o := observe.NewLater(events{done{&prompts}, &told}).Observer()
	o.Done(inference.Record{})
	o.(inference.Watcher).Event(inference.Event{Kind: inference.Granted})
	if told != 1 || prompts != nil {
		t.Errorf("told of %d events and %d calls", told, len(prompts))
	}
}
