package pool_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func hangs(time.Time) *fault { return &fault{hangs: true} }

// limited asks for an answer of so many tokens, with a limit of its own.
func (m deadlineMode) limited(t *testing.T, p *pool.Pool, need route.Need, limit time.Duration, tokens int) error {
	need.Model = "m:latest"
	return m.with(t, p, need, limit, func(ctx context.Context, l *pool.Lease) error {
		return generate(ctx, l.Host, "m:latest", tokens)
	})
}

// However little time each call has, and whether the host was the quicker one or not.
func TestHostThatHangsIsEjectedByCallsWithLittleTime(t *testing.T) {
	for _, limit := range []time.Duration{2 * time.Second, 5 * time.Second, 10 * time.Second, 29 * time.Second} {
		for _, policy := range route.Policies() {
			t.Run(fmt.Sprint(limit, " ", policy.Name), func(t *testing.T) {
				inEachMode(t, func(t *testing.T, mode deadlineMode) {
					hung, other := good("hung"), good("other")
					other.perToken *= 4
					_, backends := machines(hung, other)
					p := newPool(t, pool.Options{Hosts: backends, Slots: 4, Policy: policy})
					for range 4 {
						for _, host := range []string{"hung", "other"} {
							if err := mode.limited(t, p, route.Need{Host: host}, limit, 10); err != nil {
								t.Fatal(err)
							}
						}
					}
					hung.fails = hangs
					failed := 0
					for range 60 {
						if mode.limited(t, p, route.Need{}, limit, 10) != nil {
							failed++
						}
					}
					most := 5 + int(10*time.Second/limit) // five in a row, of which each comes after ten seconds of silence
					if s := p.Stats().Hosts[0]; failed > most {
						t.Errorf("%d of 60 calls failed, want at most %d, and the breaker is %s", failed, most, s.Breaker)
					}
				})
			})
		}
	}
}

// As after a start of this program, when the host hung before.
func TestHostThatNeverAnsweredIsEjectedByCallsWithLittleTime(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode deadlineMode) {
		hung := good("hung")
		_, backends := machines(hung, good("other"))
		p := newPool(t, pool.Options{Hosts: backends})
		p.Know("hung", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest"}}})
		hung.fails = hangs
		failed := 0
		for range 60 {
			if mode.limited(t, p, route.Need{}, 5*time.Second, 10) != nil {
				failed++
			}
		}
		if failed > 10 {
			t.Errorf("%d of 60 calls failed, and the breaker is %s", failed, p.Stats().Hosts[0].Breaker)
		}
	})
}

func TestSlowHostIsNotTakenForOneThatHangs(t *testing.T) {
	const limit = 10 * time.Second
	for name, tell := range map[string]func(t *testing.T, mode deadlineMode, p *pool.Pool, m *machine){
		"a cold start": func(t *testing.T, mode deadlineMode, p *pool.Pool, m *machine) {
			m.load = 5 * time.Minute
			for range 20 {
				_ = mode.limited(t, p, route.Need{}, limit, 10)
			}
		},
		"a long prompt, sent again and again": func(t *testing.T, mode deadlineMode, p *pool.Pool, m *machine) {
			m.perToken = 100 * time.Millisecond
			for range 4 {
				_ = mode.limited(t, p, route.Need{Bytes: 1000}, limit, 10)
			}
			m.perToken = 2 * time.Minute
			for range 11 {
				_ = mode.limited(t, p, route.Need{Bytes: 1_000_000}, limit, 10)
			}
		},
		"short prompts behind a long one": func(t *testing.T, mode deadlineMode, p *pool.Pool, m *machine) {
			m.parallel, m.perToken = 1, 100*time.Millisecond
			for range 4 {
				_ = mode.limited(t, p, route.Need{Bytes: 1000}, limit, 10)
			}
			var all sync.WaitGroup
			defer all.Wait()
			m.perToken = 2 * time.Minute
			all.Go(func() { _ = mode.limited(t, p, route.Need{Bytes: 1_000_000}, 5*time.Minute, 1) })
			time.Sleep(time.Second)
			for range 8 {
				_ = mode.limited(t, p, route.Need{Bytes: 1000}, limit, 1)
			}
		},
		"a host that answers another call": func(t *testing.T, mode deadlineMode, p *pool.Pool, m *machine) {
			m.parallel = 1
			_ = mode.limited(t, p, route.Need{}, limit, 10)
			var all sync.WaitGroup
			defer all.Wait()
			m.perToken, m.streams = time.Second, true
			all.Go(func() { _ = mode.limited(t, p, route.Need{}, time.Hour, 120) })
			time.Sleep(time.Second)
			for range 8 {
				_ = mode.limited(t, p, route.Need{}, limit, 10)
			}
		},
		"a measured minute": func(t *testing.T, mode deadlineMode, p *pool.Pool, m *machine) {
			m.perToken = time.Minute
			_ = mode.limited(t, p, route.Need{}, time.Hour, 1)
			for range 4 {
				_ = mode.limited(t, p, route.Need{}, 50*time.Second, 1)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inEachMode(t, func(t *testing.T, mode deadlineMode) {
				m := good("slow")
				_, backends := machines(m, good("other"))
				p := newPool(t, pool.Options{Hosts: backends[:1], Slots: 4})
				tell(t, mode, p, m)
				if s := p.Stats().Hosts[0]; s.Breaker != "closed" {
					t.Errorf("the breaker is %s: %s", s.Breaker, s.Why)
				}
			})
		})
	}
}

// A call waits for the quicker host only as long as that may still be the quicker one.
func TestCallsDoNotWaitForAHostThatIsSilent(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode deadlineMode) {
		hung, other := good("hung"), good("other")
		other.perToken *= 10
		_, backends := machines(hung, other)
		p := newPool(t, pool.Options{Hosts: backends, Slots: 2})
		for range 4 {
			for _, host := range []string{"hung", "other"} {
				if err := mode.limited(t, p, route.Need{Host: host}, time.Minute, 10); err != nil {
					t.Fatal(err)
				}
			}
		}
		hung.fails = hangs
		var all sync.WaitGroup
		for range 2 { // they take both slots of the quick host
			all.Go(func() { _ = mode.limited(t, p, route.Need{}, time.Minute, 10) })
		}
		time.Sleep(time.Millisecond)
		began := time.Now()
		if err := mode.limited(t, p, route.Need{}, time.Minute, 10); err != nil || time.Since(began) > 5*time.Second {
			t.Errorf("answered after %v, error %v; the other host takes %v", time.Since(began), err, 10*other.perToken)
		}
		all.Wait()
	})
}
