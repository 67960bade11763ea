package pool_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// oneInTen spoils a tenth of the calls at random.
func oneInTen(f fault) func(time.Time) *fault {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(9, 9))
	return func(time.Time) *fault {
		mu.Lock()
		defer mu.Unlock()
		if random.IntN(10) > 0 {
			return nil
		}
		return &f
	}
}

// work has callers make n calls of a second each, and returns how many failed and how
// long all took.
func work(t *testing.T, p *pool.Pool, callers, n int) (failed int64, took time.Duration) {
	t.Helper()
	var next, lost atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range callers {
		all.Go(func() {
			for next.Add(1) <= int64(n) {
				err := p.With(t.Context(), route.Need{Model: backendtest.Tiny}, func(ctx context.Context, l *pool.Lease) error {
					_, err := l.Host.Generate(ctx, &backend.GenerateRequest{Model: backendtest.Tiny, Prompt: "hi"}, nil)
					return err
				})
				if err != nil {
					lost.Add(1)
				}
			}
		})
	}
	all.Wait()
	return lost.Load(), time.Since(began)
}

func TestOneCallInTenThatFailsIsHardlyNoticed(t *testing.T) {
	const (
		callers, calls = 8, 3000
		clean          = calls / callers * time.Second // when none fails
	)
	run := func(hosts int, mode deadlineMode, f fault) (failed int, took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			var ms []*machine
			for _, name := range []string{"a", "b"}[:hosts] {
				ms = append(ms, &machine{name: name, parallel: callers, perToken: 500 * time.Millisecond})
			}
			ms[0].fails = oneInTen(f)
			_, backends := machines(ms...)
			p := newPool(t, pool.Options{Hosts: backends, Slots: callers})
			var next, lost atomic.Int64
			var all sync.WaitGroup
			began := time.Now()
			for range callers {
				all.Go(func() {
					for next.Add(1) <= calls {
						err := mode.with(t, p, route.Need{Model: "m:latest"}, time.Hour, func(ctx context.Context, l *pool.Lease) error {
							return generate(ctx, l.Host, "m:latest", 2)
						})
						if err != nil {
							lost.Add(1)
						}
					}
				})
			}
			all.Wait()
			failed, took = int(lost.Load()), time.Since(began)
		})
		return failed, took
	}
	for _, hosts := range []int{1, 2} {
		for name, f := range map[string]fault{
			"503": {class: backend.Overload},
			"cut": {pieces: true, after: 500 * time.Millisecond, class: backend.Server},
		} {
			most := 0
			if hosts == 1 && name == "cut" {
				most = calls/1000 - 1
			}
			for _, mode := range deadlineModes {
				failed, took := run(hosts, mode, f)
				ratio := clean.Seconds() / took.Seconds()
				t.Logf("%d hosts, %s, one call in ten %s on one: %d of %d calls failed, throughput %.3f of the clean run", hosts, mode, name, failed, calls, ratio)
				if failed > most {
					t.Errorf("%d hosts, %s, %s: %d calls failed, want at most %d", hosts, mode, name, failed, most)
				}
				if ratio < 0.85 {
					t.Errorf("%d hosts, %s, %s: throughput is %.3f of the clean run", hosts, mode, name, ratio)
				}
			}
		}
	}
}

// More calls than any share of those before.
func TestHostThatDiesWithManyCallsInFlightLosesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dies := backendtest.New("dies").Answer("1 2 3 4 5 6 7 8 9 10").TokenTime(time.Second)
		stays := backendtest.New("stays").Answer("1").TokenTime(time.Second)
		p := newPool(t, pool.Options{Hosts: []backend.Backend{dies.Open(t), stays.Open(t)}, Slots: 32})
		time.AfterFunc(5*time.Second, func() { dies.Down() })
		if failed, _ := work(t, p, 64, 64); failed > 0 {
			t.Errorf("%d of 64 calls failed", failed)
		}
		if retried := p.Stats().Retried; retried < 30 {
			t.Errorf("%d calls were tried again, want about half", retried)
		}
	})
}
