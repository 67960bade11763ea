package pool_test

import (
	"context"
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

func TestResizedHostKeepsItsCallsAndWhatIsKnownOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gpu := good("gpu")
		gpu.load = 10 * time.Second
		_, backends := machines(gpu)
		p := newPool(t, pool.Options{Hosts: backends, Slots: 2})
		if err := ask(t.Context(), p, "m:latest", 100); err != nil {
			t.Fatal(err)
		}
		before := p.Stats().Hosts[0]
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				if err := p.With(t.Context(), route.Need{Model: "m:latest"}, hold(10*time.Second)); err != nil {
					t.Error(err)
				}
			})
		}
		busy := func(want int) {
			t.Helper()
			synctest.Wait()
			if got := p.Stats(); got.Hosts[0].Busy != want || got.Queue.Waiting != 6-want {
				t.Errorf("%d calls on the host and %d in the queue, want %d and %d", got.Hosts[0].Busy, got.Queue.Waiting, want, 6-want)
			}
		}
		resize := func(slots int) {
			t.Helper()
			if err := p.Resize("gpu", pool.Slots{Given: slots}); err != nil {
				t.Fatal(err)
			}
		}
		busy(2)
		resize(4)
		busy(4)
		resize(1)
		busy(4) // they go on
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := p.Stats(); got.Hosts[0].Busy != 1 || got.Queue.Waiting != 1 {
			t.Errorf("%d calls on the host and %d in the queue after the four have ended, want 1 and 1", got.Hosts[0].Busy, got.Queue.Waiting)
		}
		all.Wait()
		after := p.Stats().Hosts[0]
		if after.Slots != 1 || len(after.Loaded) != 1 || after.Loaded[0] != before.Loaded[0] || after.Latency == 0 || gpu.loads != 1 {
			t.Errorf("after it was resized the host is %+v", after)
		}
		if err := p.Resize("gpu", pool.Slots{Given: -1}); err == nil || !strings.Contains(err.Error(), "gpu") {
			t.Errorf("a negative number of slots: %v", err)
		}
		if err := p.Resize("nobody", pool.Slots{Given: 1}); err != nil {
			t.Error(err)
		}
	})
}

func TestLearnedSlotsAreThereAgainAfterOthersWereGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gpu := &machine{name: "gpu", parallel: 8, perToken: 10 * time.Millisecond}
		_, backends := machines(gpu)
		p := newPool(t, pool.Options{Hosts: backends, Queue: 1000, PerCaller: 1000})
		simulate(t, p, poisson(2000, 8, 100, 7))
		slots := func() int { return p.Stats().Hosts[0].Slots }
		learned := slots()
		if learned <= 2 {
			t.Fatalf("%d slots were learned", learned)
		}
		for _, c := range []struct {
			slots pool.Slots
			want  int
		}{{pool.Slots{Given: 1}, 1}, {pool.Slots{}, learned}, {pool.Slots{Max: 2}, 2}} {
			if err := p.Resize("gpu", c.slots); err != nil {
				t.Fatal(err)
			}
			if got := slots(); got != c.want {
				t.Errorf("%+v: %d slots, want %d", c.slots, got, c.want)
			}
		}
	})
}

// However often hosts are resized, no call starts on a host that has as many calls as slots, all
// calls are served, and in the end every slot is back.
func TestNoSlotIsLostWhenHostsAreResized(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type step struct{ After, Slots, Holds int } // Slots 0 is a call
		steps := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) step {
			return step{rapid.IntRange(0, 3).Draw(rt, "after"), rapid.IntRange(-3, 5).Draw(rt, "slots"), rapid.IntRange(1, 9).Draw(rt, "holds")}
		}), 1, 40).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Hosts: []backend.Backend{host{name: "gpu"}}, Slots: 2})
			var mu sync.Mutex
			slots, busy := 2, 0
			var all sync.WaitGroup
			for i, s := range steps {
				time.Sleep(time.Duration(s.After) * time.Second)
				if s.Slots > 0 {
					mu.Lock()
					slots = s.Slots
					mu.Unlock()
					if err := p.Resize("gpu", pool.Slots{Given: s.Slots}); err != nil {
						rt.Error(err)
					}
					synctest.Wait()
					continue
				}
				all.Go(func() {
					err := p.With(t.Context(), route.Need{}, func(context.Context, *pool.Lease) error {
						mu.Lock()
						if busy++; busy > slots {
							rt.Errorf("call %d is one of %d on %d slots", i, busy, slots)
						}
						mu.Unlock()
						time.Sleep(time.Duration(s.Holds)*time.Second + time.Millisecond) // no call ends while the host is resized
						mu.Lock()
						busy--
						mu.Unlock()
						return nil
					})
					if err != nil {
						rt.Errorf("call %d: %v", i, err)
					}
				})
				synctest.Wait()
			}
			all.Wait()
			assertAllSlots(t, p, "", slots)
		})
	})
}
