package pool_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/pool"
)

func TestHostThatWasIdleGetsItsSlotsBackAtOnceUnlessItWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, backends := machines(&machine{name: "gpu", parallel: 64, perToken: 10 * time.Millisecond})
		p := newPool(t, pool.Options{Hosts: backends})
		crowd := func(each int) (all *sync.WaitGroup) {
			all = new(sync.WaitGroup)
			for range 100 {
				all.Go(func() {
					for range each {
						if err := ask(t.Context(), p, "m:latest", 100); err != nil {
							t.Error(err)
						}
					}
				})
			}
			synctest.Wait()
			return all
		}
		slots := func() int { return p.Stats().Hosts[0].Slots }
		night := func() {
			for range 8 * 60 {
				time.Sleep(time.Minute)
				p.Know("gpu", pool.Facts{Up: true})
			}
		}
		crowd(20).Wait()
		learned := slots()
		night()
		if learned < 32 || slots() != 2 {
			t.Fatalf("%d slots after a busy day and %d after the night, want many and 2", learned, slots())
		}
		all := crowd(1)
		if s := p.Stats(); s.InFlight < 32 {
			t.Errorf("%d calls in flight in the morning, want many at once (%s)", s.InFlight, s.Hosts[0].Reason)
		}
		all.Wait()
		night()
		p.Know("gpu", pool.Facts{Err: errors.New("connection refused")})
		p.Know("gpu", pool.Facts{Up: true})
		all = crowd(1)
		if got := slots(); got != 2 {
			t.Errorf("%d slots of a host that may have been set up anew, want 2", got)
		}
		all.Wait()
	})
}
