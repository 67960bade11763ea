package pool_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func wait(class backend.Class, status int, after time.Duration) *backend.Error {
	return &backend.Error{Host: "gpu-1", Class: class, Status: status, Message: "slow down", RetryAfter: after}
}

func TestHostIsLeftAloneWithTheModelOrWithAllByWhatItSaid(t *testing.T) {
	const asked = 30 * time.Second
	for name, c := range map[string]struct {
		err         error
		same, other bool // whether calls for the same and for another model wait
		provider    bool
	}{
		"429":                   {err: wait(backend.Overload, 429, asked), same: true},
		"503":                   {err: wait(backend.Overload, 503, asked), same: true, other: true},
		"529":                   {err: wait(backend.Overload, 529, asked), same: true, other: true},
		"500":                   {err: wait(backend.Server, 500, asked), same: true, other: true},
		"a spent budget":        {err: wait(backend.Overload, 0, asked), same: true, other: true},
		"a provider's credit":   {err: wait(backend.NoCredit, 402, asked), same: true, other: true, provider: true},
		"a model's credit":      {err: wait(backend.NoCredit, 402, asked), same: true},
		"429 without a time":    {err: wait(backend.Overload, 429, 0)},
		"a key that is wrong":   {err: wait(backend.Unauthorized, 401, 0)},
		"a request's own fault": {err: wait(backend.Request, 400, asked)},
	} {
		t.Run(name, func(t *testing.T) {
			inEachMode(t, func(t *testing.T, mode deadlineMode) {
				p := newPool(t, pool.Options{Slots: 1, Retries: -1, InMemory: c.provider})
				fails := func(context.Context, *pool.Lease) error { return c.err }
				if err := mode.with(t, p, route.Need{Model: "m:latest"}, time.Minute, fails); !errors.Is(err, c.err) {
					t.Fatal(err)
				}
				for model, waits := range map[string]bool{"m:latest": c.same, "other:latest": c.other} {
					began := time.Now()
					err := mode.with(t, p, route.Need{Model: model}, 20*time.Second, hold(0))
					var said *backend.Error
					if refused := errors.As(err, &said); refused != waits || time.Since(began) > 0 || waits && (said.RetryAfter != asked || !errors.Is(err, c.err)) {
						t.Errorf("%s with 20 s: got %v after %v, want a refusal at once: %v", model, err, time.Since(began), waits)
					}
				}
				began := time.Now()
				err := mode.with(t, p, route.Need{Model: "m:latest"}, time.Minute, hold(0))
				want := time.Duration(0)
				if c.same {
					want = asked
				}
				if err != nil || time.Since(began) != want {
					t.Errorf("with a minute: got %v after %v, want an answer after %v", err, time.Since(began), want)
				}
			})
		})
	}
}

func TestCallWaitsForARestAsLongAsItsNeedSays(t *testing.T) {
	for asked, served := range map[time.Duration]bool{
		500 * time.Millisecond: true, 2 * time.Second: true, 3 * time.Second: false, time.Hour: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Slots: 1})
			began, attempts := time.Now(), 0
			err := p.With(t.Context(), route.Need{Model: "m:latest", MaxPause: 2 * time.Second}, func(context.Context, *pool.Lease) error {
				if attempts++; attempts == 1 {
					return wait(backend.Overload, 429, asked)
				}
				return nil
			})
			took := time.Since(began)
			if served && (err != nil || took < asked) || !served && (err == nil || took > 0 || attempts > 1) {
				t.Errorf("asked to wait %v: got %v after %v and %d attempts", asked, err, took, attempts)
			}
		})
	}
}

// It has been let in, and would wait for longer than it may.
func TestCallThatWaitsIsRefusedWhenItsHostAsksToBeLeftAlone(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode deadlineMode) {
		p := newPool(t, pool.Options{Slots: 1, Retries: -1})
		var all sync.WaitGroup
		all.Go(func() {
			_ = p.With(t.Context(), route.Need{}, func(ctx context.Context, _ *pool.Lease) error {
				return after(ctx, 5*time.Second, wait(backend.Overload, 503, 30*time.Second))
			})
		})
		synctest.Wait()
		began := time.Now()
		err := mode.with(t, p, route.Need{}, 20*time.Second, hold(0))
		if !errors.Is(err, backend.Overload) || time.Since(began) != 5*time.Second {
			t.Errorf("got %v after %v, want a refusal after 5s", err, time.Since(began))
		}
		all.Wait()
		if s := p.Stats(); s.Queue.Waiting != 0 || s.InFlight != 0 {
			t.Errorf("afterwards: %+v", s)
		}
	})
}

// Whatever hosts say, none is asked before its time, and each call ends in its own.
func TestNoHostIsAskedBeforeItsTime(t *testing.T) {
	type reply struct {
		class  backend.Class // "" for an answer
		status int
		after  time.Duration
	}
	anyReply := rapid.Custom(func(r *rapid.T) reply {
		return rapid.SampledFrom([]reply{
			{},
			{},
			{backend.Overload, 429, time.Second},
			{backend.Overload, 429, 20 * time.Second},
			{backend.Overload, 503, 7 * time.Second},
			{backend.Unauthorized, 402, 40 * time.Second},
			{backend.Overload, 0, 2 * time.Hour},
			{backend.Overload, 429, 0},
			{backend.Server, 500, 0},
		}).Draw(r, "reply")
	})
	type call struct {
		at, limit, pause time.Duration
		model            string
	}
	anyCall := rapid.Custom(func(r *rapid.T) call {
		second := func(label string, most int) time.Duration {
			return time.Duration(rapid.IntRange(0, most).Draw(r, label)) * time.Second
		}
		return call{second("at", 90), time.Second + second("limit", 60), second("pause", 3), rapid.SampledFrom([]string{"m", "n"}).Draw(r, "model")}
	})
	rapid.Check(t, func(r *rapid.T) {
		replies := rapid.SliceOfN(anyReply, 1, 20).Draw(r, "replies")
		calls := rapid.SliceOfN(anyCall, 1, 20).Draw(r, "calls")
		mode := rapid.SampledFrom(deadlineModes).Draw(r, "mode")
		var problems []string
		synctest.Test(t, func(t *testing.T) {
			p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 2})
			var mu sync.Mutex // guards what follows
			rests := make(map[string]time.Time)
			turn := 0
			use := func(model string) func(context.Context, *pool.Lease) error {
				return func(ctx context.Context, l *pool.Lease) error {
					mu.Lock()
					host := l.Host.Name()
					for _, of := range []string{host, host + " " + model} {
						if now := time.Now(); now.Before(rests[of]) {
							problems = append(problems, fmt.Sprintf("%s is asked %v before its time", of, rests[of].Sub(now)))
						}
					}
					say := replies[turn%len(replies)]
					turn++
					mu.Unlock()
					if err := after(ctx, 300*time.Millisecond, nil); err != nil || say.class == "" {
						return err
					}
					mu.Lock()
					defer mu.Unlock()
					of := host
					if say.status == 429 {
						of += " " + model
					}
					if until := time.Now().Add(min(say.after, time.Hour)); say.after > 0 && until.After(rests[of]) {
						rests[of] = until
					}
					return wait(say.class, say.status, say.after)
				}
			}
			var all sync.WaitGroup
			for _, c := range calls {
				all.Go(func() {
					time.Sleep(c.at)
					began := time.Now()
					err := mode.with(t, p, route.Need{Model: c.model, MaxPause: c.pause}, c.limit, use(c.model))
					if took := time.Since(began); took > c.limit {
						mu.Lock()
						defer mu.Unlock()
						problems = append(problems, fmt.Sprintf("%+v took %v: %v", c, took, err))
					}
				})
			}
			all.Wait()
			if s := p.Stats(); s.InFlight != 0 || s.Queue.Waiting != 0 {
				problems = append(problems, fmt.Sprintf("afterwards: %+v", s))
			}
		})
		if len(problems) > 0 {
			r.Fatalf("%q", problems)
		}
	})
}
