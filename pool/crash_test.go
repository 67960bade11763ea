package pool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// frail is a host whose models crash as Ollama's do: those that have not begun to answer
// are told, and one of the others; the rest hang, and none begins while they do. A call
// takes ten seconds, one to its first piece. Under a poison its model crashes at once.
type frail struct {
	backend.Backend
	name string

	mu     sync.Mutex
	change *sync.Cond // of what follows
	runs   []*run     // under way, the first to come first
	hung   int        // of them
	died   string     // the model that crashed last, until it is loaded again
}

const poison = "poison"

// run is a call under way.
type run struct {
	model   string
	load    time.Duration
	ends    time.Time
	crashed chan error // nil for one that is not told
}

func newFrail(name string) *frail {
	f := &frail{name: name}
	f.change = sync.NewCond(&f.mu)
	return f
}

func (f *frail) Name() string { return f.name }

// crash ends the process of a model. Calls that would end at once have their end on its way.
func (f *frail) crash(model string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.died = model
	told := false // one that had begun to answer
	for _, r := range f.runs {
		left := time.Until(r.ends)
		switch {
		case r.model != model || left <= 100*time.Millisecond:
		case left > 9*time.Second || !told:
			told = told || left <= 9*time.Second
			r.crashed <- &backend.Error{Host: f.name, Class: backend.Crashed, Message: "out of memory"}
		default:
			f.hung++
			r.crashed <- nil
		}
	}
}

func (f *frail) Generate(ctx context.Context, req *backend.GenerateRequest, onPiece func(backend.Piece)) (*backend.Answer, error) {
	r := f.begin(req.Model)
	hangs := false
	defer func() { f.end(r, hangs) }()
	piece, end := time.After(time.Second), time.After(10*time.Second)
	var fatal <-chan time.Time
	if req.Prompt == poison {
		fatal = time.After(50 * time.Millisecond)
	}
	for {
		select {
		case <-fatal:
			f.crash(req.Model)
		case <-piece:
			onPiece(backend.Piece{Text: "x"})
		case <-end:
			return &backend.Answer{Text: "x", Tokens: 10, Load: r.load, FirstPiece: time.Second, Eval: 9 * time.Second}, nil
		case err := <-r.crashed:
			if err != nil {
				return nil, err
			}
			hangs, piece, end = true, nil, nil
		case <-ctx.Done():
			return nil, &backend.Error{Host: f.name, Class: backend.Caller, Err: ctx.Err()}
		}
	}
}

func (f *frail) begin(model string) *run {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.hung > 0 {
		f.change.Wait()
	}
	r := &run{model: model, ends: time.Now().Add(10 * time.Second), crashed: make(chan error, 1)}
	if f.died == model {
		r.load, f.died = 500*time.Millisecond, ""
	}
	f.runs = append(f.runs, r)
	return r
}

func (f *frail) end(r *run, hung bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs = slices.DeleteFunc(f.runs, func(other *run) bool { return other == r })
	if hung {
		f.hung--
		f.change.Broadcast()
	}
}

// askFrail has a model asked by so many at once, and returns how long each took.
func askFrail(t *testing.T, p *pool.Pool, need route.Need, calls int) (ended *sync.WaitGroup, took []time.Duration) {
	ended, took = new(sync.WaitGroup), make([]time.Duration, calls)
	for i := range calls {
		ended.Go(func() {
			began := time.Now()
			err := p.With(t.Context(), need, func(ctx context.Context, l *pool.Lease) error {
				_, err := l.Host.Generate(ctx, &backend.GenerateRequest{Model: need.Model}, func(backend.Piece) {})
				if errors.Is(err, backend.Crashed) && ctx.Err() != nil {
					t.Error("the borrower's own context has ended")
				}
				return err
			})
			if took[i] = time.Since(began); err != nil {
				t.Error(err)
			}
		})
	}
	return ended, took
}

func TestModelThatCrashesLosesNoneOfItsCalls(t *testing.T) {
	const slots = 32 // more than the budget for retries allows for
	for hedge, after := range map[string]time.Duration{"alone": 0, "with hedges": 500 * time.Millisecond} {
		for _, hosts := range []int{1, 2} {
			t.Run(fmt.Sprint(hosts, " hosts, ", hedge), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var log bytes.Buffer
					var backends []backend.Backend
					frails := []*frail{newFrail("gpu-1"), newFrail("gpu-2")}[:hosts]
					for _, f := range frails {
						backends = append(backends, f)
					}
					p := newPool(t, pool.Options{Hosts: backends, Slots: slots, Log: slog.New(slog.NewTextHandler(&log, nil))})
					for _, f := range frails {
						p.Know(f.name, pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest"}}})
					}
					ended, took := askFrail(t, p, route.Need{Model: "m:latest", HedgeAfter: after}, slots)
					time.Sleep(5 * time.Second)
					frails[0].crash("m:latest")
					time.Sleep(time.Second)
					if s := p.Stats(); !s.Hosts[0].Well || s.Hosts[0].Breaker != "closed" {
						t.Errorf("after one crash the host is %s: %s", s.Hosts[0].Breaker, s.Hosts[0].Why)
					}
					ended.Wait()
					if slowest := slices.Max(took); slowest > 30*time.Second {
						t.Errorf("a call took %v, want no more than two tries and a while", slowest)
					}
					if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), `msg="model crashed" host=gpu-1 model=m:latest`) {
						t.Errorf("logged:\n%swant one line", log.String())
					}
					assertAllSlots(t, p, "", slots*hosts)
				})
			})
		}
	}
}

func TestCrashEndsOnlyWhatHangsBecauseOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gpu := newFrail("gpu")
		p := newPool(t, pool.Options{Hosts: []backend.Backend{gpu}, Slots: 8})
		p.Know("gpu", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest"}, {Model: "other:latest"}}})
		almost, early := askFrail(t, p, route.Need{Model: "m:latest"}, 1)
		time.Sleep(5 * time.Second)
		others, theirs := askFrail(t, p, route.Need{Model: "other:latest"}, 1)
		ended, took := askFrail(t, p, route.Need{Model: "m:latest"}, 2)
		time.Sleep(4900 * time.Millisecond)

		gpu.crash("m:latest")
		for _, all := range []*sync.WaitGroup{almost, others, ended} {
			all.Wait()
		}
		if early[0] != 10*time.Second || theirs[0] != 10*time.Second {
			t.Errorf("a call that was almost done took %v and one of another model %v, want 10s each", early[0], theirs[0])
		}
		if slices.Min(took) < 14900*time.Millisecond || p.Stats().Retried != 2 {
			t.Errorf("the others took %v, %d tried again, want both to be", took, p.Stats().Retried)
		}
	})
}

func TestModelThatHadToBeLoadedForACrashIsNotTakenForOneWithoutRoomBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gpu := newFrail("gpu")
		p := newPool(t, pool.Options{Hosts: []backend.Backend{gpu}, Slots: 8})
		p.Know("gpu", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest"}}})
		before, _ := askFrail(t, p, route.Need{Model: "m:latest"}, 1)
		before.Wait()
		ended, _ := askFrail(t, p, route.Need{Model: "m:latest"}, 1)
		time.Sleep(5 * time.Second)
		gpu.crash("m:latest")
		ended.Wait()
		after, _ := askFrail(t, p, route.Need{Model: "m:latest"}, 1)
		time.Sleep(time.Second)
		other, took := askFrail(t, p, route.Need{Model: "other:latest"}, 1)
		other.Wait()
		after.Wait()
		if took[0] != 10*time.Second {
			t.Errorf("a call of another model took %v, want 10s, beside the one under way", took[0])
		}
	})
}

// One that waits inside through a crash is answered by the next process, and may be who
// is told of that one's.
func TestEachCrashIsNoticedWhoeverIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		gpu := newFrail("gpu")
		p := newPool(t, pool.Options{Hosts: []backend.Backend{gpu}, Slots: 8, Log: slog.New(slog.NewTextHandler(&log, nil))})
		p.Know("gpu", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest"}}})
		ended, took := askFrail(t, p, route.Need{Model: "m:latest"}, 8)
		for range 3 {
			time.Sleep(5 * time.Second)
			gpu.crash("m:latest")
		}
		ended.Wait()
		if n := strings.Count(log.String(), `msg="model crashed"`); n != 3 {
			t.Errorf("noticed %d crashes, want 3:\n%s", n, log.String())
		}
		if slowest := slices.Max(took); slowest > time.Minute {
			t.Errorf("a call took %v", slowest)
		}
	})
}

func TestRequestUnderWhichModelsCrashIsGivenUpAndItsNeighboursAreAnswered(t *testing.T) {
	for _, hosts := range []int{1, 2} {
		t.Run(fmt.Sprint(hosts, " hosts"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				backends := []backend.Backend{newFrail("gpu-1"), newFrail("gpu-2")}[:hosts]
				p := newPool(t, pool.Options{Hosts: backends, Slots: 8, Log: slog.New(slog.NewTextHandler(&log, nil))})
				for _, b := range backends {
					p.Know(b.Name(), pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest"}}})
				}
				need := route.Need{Model: "m:latest"}
				early, _ := askFrail(t, p, need, 4*hosts)
				time.Sleep(5 * time.Second)
				late, took := askFrail(t, p, need, 2*hosts) // they have not begun to answer when the first model crashes
				time.Sleep(time.Second / 10)
				tries := 0
				err := p.With(t.Context(), need, func(ctx context.Context, l *pool.Lease) error {
					tries++
					_, err := l.Host.Generate(ctx, &backend.GenerateRequest{Model: need.Model, Prompt: poison}, func(backend.Piece) {})
					return err
				})
				if !errors.Is(err, pool.ErrCrashes) || !errors.Is(err, backend.Crashed) || errors.Is(err, pool.ErrNoHost) || tries != 2 {
					t.Errorf("after %d tries: %v, want after 2 that models crash under it", tries, err)
				}
				early.Wait()
				late.Wait()
				synctest.Wait()
				if n := strings.Count(log.String(), `msg="model crashed"`); n != 2 {
					t.Errorf("%d crashes, want 2:\n%s", n, log.String())
				}
				if slowest := slices.Max(took); slowest > 30*time.Second {
					t.Errorf("a neighbour took %v", slowest)
				}
				assertAllSlots(t, p, "", 8*hosts)
			})
		})
	}
}

// Two that had just begun are told of the same crash. Neither is to blame for the next.
func TestRequestsThatBeganWhenAModelCrashedAreTriedOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gpu := newFrail("gpu")
		p := newPool(t, pool.Options{Hosts: []backend.Backend{gpu}, Slots: 8})
		know := func() { p.Know("gpu", pool.Facts{Up: true, Loaded: []pool.Loaded{{Model: "m:latest"}}}) }
		know()
		ended, took := askFrail(t, p, route.Need{Model: "m:latest"}, 3)
		time.Sleep(time.Second / 2)
		gpu.crash("m:latest")
		know() // loaded anew, so that nothing else holds them back
		synctest.Wait()
		time.Sleep(600 * time.Millisecond)
		if busy := p.Stats().InFlight; busy != 1 {
			t.Errorf("%d suspects at once, want 1", busy)
		}
		ended.Wait()
		slices.Sort(took)
		if between := took[2] - took[0]; between > 3*time.Second {
			t.Errorf("they took %v, want each to begin with the first piece of the one before", took)
		}
	})
}
