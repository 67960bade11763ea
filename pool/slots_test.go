package pool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
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

// A host of two at once that answers in 20 ms could serve a hundred a second, but a slot is
// held for 80 ms more, be it by the caller or on the way of the answer.
func TestHostIsKeptBusyThoughSlotsAreHeldBesideItsWork(t *testing.T) {
	for name, c := range map[string]struct{ onTheWay, afterwards time.Duration }{
		"by the caller": {afterwards: 80 * time.Millisecond},
		"on the way":    {onTheWay: 80 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, backends := machines(&machine{name: "gpu", parallel: 2, perToken: time.Millisecond})
			p := newPool(t, pool.Options{Hosts: []backend.Backend{distant{backends[0], c.onTheWay}}})
			served := shortAnswers(t, p, c.afterwards)
			busy := float64(served) / 60 / 100
			t.Logf("%s: the host is %.0f %% busy, with %d slots", name, 100*busy, p.Stats().Hosts[0].Slots)
			if busy < 0.82 { // three quarters if only its own work is looked at
				t.Errorf("%s: the host is %.0f %% busy while 60 callers wait", name, 100*busy)
			}
		})
	}
}

// shortAnswers has 60 callers ask for two minutes, each keeping its slot for a while after
// an answer, and returns how many calls were served in the second.
func shortAnswers(t *testing.T, p *pool.Pool, afterwards time.Duration) (served int64) {
	learned := time.Now().Add(time.Minute)
	end := learned.Add(time.Minute)
	var late atomic.Int64
	var all sync.WaitGroup
	for i := range 60 {
		random := rand.New(rand.NewPCG(9, uint64(i)))
		all.Go(func() {
			for time.Now().Before(end) {
				err := p.With(t.Context(), route.Need{Model: "m:latest"}, func(ctx context.Context, l *pool.Lease) error {
					err := generate(ctx, l.Host, "m:latest", 1+int(20*random.ExpFloat64()))
					time.Sleep(afterwards)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if time.Now().After(learned) {
					late.Add(1)
				}
			}
		})
	}
	all.Wait()
	return late.Load()
}

// distant is a host whose answers take a while to come, once it has done its work.
type distant struct {
	backend.Backend
	way time.Duration
}

func (d distant) Generate(ctx context.Context, req *backend.GenerateRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	answer, err := d.Backend.Generate(ctx, req, onPiece)
	time.Sleep(d.way)
	if answer != nil {
		answer.Total += d.way
	}
	return answer, err
}
