package pool_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// named are hosts that are only names.
func named(names ...string) (all []backend.Backend) {
	for _, name := range names {
		all = append(all, host{name: name})
	}
	return all
}

func failure(class backend.Class, message string) error {
	return &backend.Error{Class: class, Message: message}
}

// onHosts answers by the host, and notes which were asked.
func onHosts(asked *[]string, errs map[string]error) func(context.Context, *pool.Lease) error {
	return func(_ context.Context, l *pool.Lease) error {
		*asked = append(*asked, l.Host.Name())
		return errs[l.Host.Name()]
	}
}

func TestFailedCallIsTriedOnAnotherHost(t *testing.T) {
	for _, class := range []backend.Class{backend.Transport, backend.Overload, backend.Server} {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 1})
			cause := failure(class, "broken")
			var retries []route.Retry
			need := route.Need{OnRetry: func(r route.Retry) {
				retries = append(retries, r)
				if busy := p.Stats().InFlight; busy != 0 {
					t.Errorf("%v: %d slots are held during the pause", class, busy)
				}
			}}
			var last pool.Lease
			err := p.With(t.Context(), need, func(_ context.Context, l *pool.Lease) error {
				last = *l
				if l.Attempt == 1 {
					return cause
				}
				return nil
			})
			if err != nil {
				t.Fatalf("%v: %v", class, err)
			}
			if last.Host.Name() != "gpu-2" || last.Attempt != 2 || !slices.Equal(last.Failed, []pool.Failure{{Host: "gpu-1", Err: cause}}) {
				t.Errorf("%v: the last try was number %d on %s after %v", class, last.Attempt, last.Host.Name(), last.Failed)
			}
			if len(retries) != 1 || retries[0].Host != "gpu-1" || !errors.Is(retries[0].Err, class) || retries[0].In > 250*time.Millisecond {
				t.Errorf("%v: announced %+v", class, retries)
			}
		})
	}
}

func TestHostThatDidNotAnswerBeforeIsAskedOnlyForWantOfOthers(t *testing.T) {
	down := map[string]error{"gpu-2": failure(backend.Transport, "connection refused")}
	for name, c := range map[string]struct {
		host  string
		tried []string
		errs  map[string]error
		want  []string
	}{
		"never asked":            {"", nil, nil, []string{"gpu-1"}},
		"asked before":           {"", []string{"gpu-1"}, nil, []string{"gpu-2"}},
		"the other fails":        {"", []string{"gpu-1"}, down, []string{"gpu-2", "gpu-1"}},
		"both were asked before": {"", []string{"gpu-2", "gpu-1"}, nil, []string{"gpu-1"}},
		"no other is wanted":     {"gpu-1", []string{"gpu-1"}, nil, []string{"gpu-1"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var asked []string
			p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 1})
			err := p.With(t.Context(), route.Need{Host: c.host, Tried: c.tried}, onHosts(&asked, c.errs))
			if err != nil || !slices.Equal(asked, c.want) {
				t.Errorf("%s: %v after asking %v, want %v", name, err, asked, c.want)
			}
		})
	}
}

func TestWhatNoOtherTryCouldCureIsTriedOnce(t *testing.T) {
	for _, cause := range []error{
		failure(backend.Request, "bad option"), failure(backend.TooLong, "too long"),
		failure(backend.Unauthorized, "no key"), failure(backend.Caller, "left"), errors.New("our own"),
	} {
		var asked []string
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 1})
		err := p.With(t.Context(), route.Need{}, onHosts(&asked, map[string]error{"gpu-1": cause}))
		if !errors.Is(err, cause) || len(asked) != 1 {
			t.Errorf("%v: got %v after asking %v", cause, err, asked)
		}
	}
}

func TestErrorNamesWhatWentWrongOnEachHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 1, Retries: 1})
		err := p.With(t.Context(), route.Need{}, onHosts(&asked, map[string]error{
			"gpu-1": failure(backend.Transport, "connection refused"),
			"gpu-2": failure(backend.Server, "out of memory"),
		}))
		const want = "no host available (gpu-1: connection refused, gpu-2: out of memory)"
		if err == nil || err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
		if !errors.Is(err, pool.ErrNoHost) || !errors.Is(err, backend.Transport) || !errors.Is(err, backend.Server) {
			t.Error("it is not found to be ErrNoHost and both failures")
		}
	})
}

func TestRetryDoesNotOutliveTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 1})
		if err := p.With(t.Context(), route.Need{}, hold(10*time.Second)); err != nil { // what a call takes
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		broken := failure(backend.Server, "broken")
		var asked []string
		err := p.With(ctx, route.Need{}, onHosts(&asked, map[string]error{"gpu-1": broken, "gpu-2": broken}))
		if !errors.Is(err, broken) || len(asked) != 1 || ctx.Err() != nil {
			t.Errorf("got %v from %v, want the failure at once and no second try", err, asked)
		}
	})
}

func TestHostThatAsksForItIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 1})
		busy := map[string]error{"gpu-1": &backend.Error{Class: backend.Overload, RetryAfter: time.Minute}}
		var asked []string
		for range 10 {
			if err := p.With(t.Context(), route.Need{}, onHosts(&asked, busy)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		if asked[0] != "gpu-1" || slices.Contains(asked[1:], "gpu-1") {
			t.Errorf("asked %v, want gpu-1 only at first", asked)
		}
	})
}

func TestMostHostsThatAskForItAreLeftAloneWhileAnotherIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2", "gpu-3"), Slots: 1})
		busy := &backend.Error{Class: backend.Overload, RetryAfter: 5 * time.Minute}
		var asked []string
		for range 10 {
			if err := p.With(t.Context(), route.Need{}, onHosts(&asked, map[string]error{"gpu-1": busy, "gpu-2": busy})); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second)
		}
		if want := []string{"gpu-1", "gpu-2", "gpu-3"}; !slices.Equal(asked[:3], want) || slices.ContainsFunc(asked[3:], func(s string) bool { return s != "gpu-3" }) {
			t.Errorf("asked %v, want gpu-1 and gpu-2 only once", asked)
		}
	})
}

func TestSingleHostIsWaitedForAsLongAsItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1})
		began := time.Now()
		err := p.With(t.Context(), route.Need{}, func(_ context.Context, l *pool.Lease) error {
			if l.Attempt == 1 {
				return &backend.Error{Class: backend.Overload, RetryAfter: 7 * time.Second}
			}
			return nil
		})
		if waited := time.Since(began); err != nil || waited < 7*time.Second || waited > 8*time.Second {
			t.Errorf("got %v after %v, want an answer after 7s", err, waited)
		}
	})
}

func TestHostThatAsksToBeLeftAloneForLongIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1})
		spent := &backend.Error{Class: backend.Overload, RetryAfter: 8 * time.Hour}
		for call := range 2 {
			began := time.Now()
			err := p.With(t.Context(), route.Need{}, func(context.Context, *pool.Lease) error { return spent })
			if waited := time.Since(began); !errors.Is(err, spent) || waited > time.Minute {
				t.Errorf("call %d: got %v after %v, want what the host said", call, err, waited)
			}
		}
	})
}

func TestCallThatIsTriedAgainComesBeforeTheOthersOfItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1})
		var order []string
		var all sync.WaitGroup
		for _, name := range []string{"fails", "second", "third"} {
			all.Go(func() {
				err := p.With(t.Context(), route.Need{}, func(_ context.Context, l *pool.Lease) error {
					order = append(order, name) // one slot: never at the same time
					time.Sleep(time.Second)
					if name == "fails" && l.Attempt == 1 {
						return failure(backend.Server, "broken")
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if want := []string{"fails", "second", "fails", "third"}; !slices.Equal(order, want) {
			t.Errorf("served in the order %v, want %v", order, want)
		}
	})
}

func TestRetriesOnAHostThatFailsAllStayWithinTheirBudget(t *testing.T) {
	for _, class := range []backend.Class{backend.Server, backend.Overload} {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Slots: 100, Queue: 100})
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					err := p.With(t.Context(), route.Need{}, func(context.Context, *pool.Lease) error { return failure(class, "broken") })
					if !errors.Is(err, class) {
						t.Errorf("got %v, want the failure", err)
					}
				})
			}
			all.Wait()
			if s := p.Stats(); s.Retried != 30 || s.RetriesLeft != 0 {
				t.Errorf("%v: %d of 100 calls were tried again with %d left, want ten and a fifth", class, s.Retried, s.RetriesLeft)
			}
		})
	}
}

func TestRequestThatWasOnlyRefusedForLoadIsRetriedTwiceAsOften(t *testing.T) {
	busy, broken := failure(backend.Overload, "busy"), failure(backend.Server, "broken")
	for name, c := range map[string]struct {
		need  route.Need
		first error
		want  int // attempts
	}{
		"refused":                      {route.Need{}, busy, 7},
		"refused after a failure":      {route.Need{}, broken, 4},
		"another model stands in soon": {route.Need{MaxPause: time.Second}, busy, 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Slots: 1})
			asked := 0
			err := p.With(t.Context(), c.need, func(context.Context, *pool.Lease) error {
				if asked++; asked == 1 {
					return c.first
				}
				return busy
			})
			if !errors.Is(err, backend.Overload) || asked != c.want {
				t.Errorf("%s: %v after %d attempts, want %d", name, err, asked, c.want)
			}
		})
	}
}

func TestFirstPauseAfterARefusalIsNoLongerThanACall(t *testing.T) {
	const took = 10 * time.Millisecond
	for name, c := range map[string]struct {
		err     error
		atMost  time.Duration
		atLeast time.Duration // for the longest of many
	}{
		"refused":                {failure(backend.Overload, "busy"), took, took / 2},
		"refused for some time":  {&backend.Error{Class: backend.Overload, RetryAfter: time.Second}, 1250 * time.Millisecond, time.Second},
		"failed for another why": {failure(backend.Server, "broken"), 250 * time.Millisecond, 125 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			var longest time.Duration
			for range 20 {
				p := newPool(t, pool.Options{Slots: 1})
				if err := p.With(t.Context(), route.Need{}, hold(took)); err != nil {
					t.Fatal(err)
				}
				need := route.Need{OnRetry: func(r route.Retry) { longest = max(longest, r.In) }}
				err := p.With(t.Context(), need, func(_ context.Context, l *pool.Lease) error {
					if l.Attempt == 1 {
						return c.err
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if longest > c.atMost || longest < c.atLeast {
				t.Errorf("%s: pauses of up to %v, want up to %v", name, longest, c.atMost)
			}
		})
	}
}

func TestHostsThatAreAllBusyAreReachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("a", "b", "c"), Slots: 1})
		waits := map[string]time.Duration{"a": 50 * time.Second, "b": 30 * time.Second, "c": 40 * time.Second}
		err := p.With(t.Context(), route.Need{Model: "m:latest", MaxPause: time.Second}, func(_ context.Context, l *pool.Lease) error {
			return &backend.Error{Host: l.Host.Name(), Class: backend.Overload, Status: 503, RetryAfter: waits[l.Host.Name()]}
		})
		if said, ok := errors.AsType[*backend.Error](err); !ok || said.Class != backend.Overload || said.RetryAfter != 30*time.Second {
			t.Errorf("got %v, want the host that is ready soonest", err)
		}
	})
}
