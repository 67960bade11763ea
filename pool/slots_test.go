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

// A host that is fast would end a call sooner, had it a slot.
func TestSlowHostWaitsForNoFastOneThatHasNoSlot(t *testing.T) {
	for name, take := range map[string]func(p *pool.Pool, askFast func(model string, tokens int)){
		"since it is full of another model": func(_ *pool.Pool, askFast func(string, int)) {
			for range 8 {
				go askFast("b:latest", 1000)
			}
		},
		"since others have all of them": func(p *pool.Pool, _ func(string, int)) {
			p.Divide(map[string]pool.Part{"fast": {}, "slow": {Slots: 2}})
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			machine := func(name string, perToken time.Duration) *machine {
				return &machine{name: name, parallel: 2, perToken: perToken, load: time.Second, holds: 1}
			}
			_, backends := machines(machine("slow", 40*time.Millisecond), machine("fast", 10*time.Millisecond))
			p := newPool(t, pool.Options{Hosts: backends})
			askAt := func(host, model string, tokens int) {
				err := p.With(t.Context(), route.Need{Model: model, Host: host}, func(ctx context.Context, l *pool.Lease) error {
					return generate(ctx, l.Host, model, tokens)
				})
				if err != nil {
					t.Error(err)
				}
			}
			for range 3 {
				askAt("slow", "a:latest", 100)
				askAt("fast", "a:latest", 100)
			}
			take(p, func(model string, tokens int) { askAt("fast", model, tokens) })
			time.Sleep(2 * time.Second)
			for range 6 {
				go askAt("", "a:latest", 100)
			}
			synctest.Wait()
			if s := p.Stats().Hosts[0]; s.Busy != 2 {
				t.Errorf("%s: %d calls are on the slow host, want 2", name, s.Busy)
			}
			p.Divide(nil)
			time.Sleep(time.Minute)
		})
	}
}
