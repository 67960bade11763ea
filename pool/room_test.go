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

func noRoom() error {
	return failure(backend.NoRoom, "model requires more system memory (476.8 GiB) than is available (21.6 GiB)")
}

func TestModelThatAHostHasNoRoomForIsAskedOfTheOthersAndNotOfItForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 1})
		small := map[string]error{"gpu-1": noRoom()}
		for i, step := range []struct {
			after  time.Duration
			numCtx float64
			want   []string
		}{
			{0, 8192, []string{"gpu-1", "gpu-2"}},
			{59 * time.Second, 8192, []string{"gpu-2"}},
			{0, 4096, []string{"gpu-1", "gpu-2"}}, // takes less
			{time.Second, 8192, []string{"gpu-1", "gpu-2"}},
		} {
			time.Sleep(step.after)
			var asked []string
			need := route.Need{Model: "m:latest", Runner: map[string]any{"num_ctx": step.numCtx}}
			if err := p.With(t.Context(), need, onHosts(&asked, small)); err != nil || !slices.Equal(asked, step.want) {
				t.Errorf("step %d: got %v from %v, want an answer from %v", i, err, asked, step.want)
			}
		}
		s := p.Stats()
		if s.Retried != 0 || s.TriesFailed != 0 || s.Hosts[0].Latency != 0 || !s.Hosts[0].Well {
			t.Errorf("%d retries, %d failures, %+v: want no trace of it", s.Retried, s.TriesFailed, s.Hosts[0])
		}
	})
}

func TestModelThatNoHostHasRoomForIsRefusedAtOnceAndSoAreThoseWhoWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2", "lacks"), Slots: 1})
		for _, name := range []string{"gpu-1", "gpu-2", "lacks"} {
			p.Know(name, pool.Facts{Up: true, Installed: map[bool][]string{true: {"n:latest"}, false: {"m:latest"}}[name == "lacks"]})
		}
		var mu sync.Mutex
		asked := 0
		ask := func() error {
			return p.With(t.Context(), route.Need{Model: "m:latest"}, func(context.Context, *pool.Lease) error {
				mu.Lock()
				asked++
				mu.Unlock()
				time.Sleep(time.Second)
				return noRoom()
			})
		}
		var all sync.WaitGroup
		began := time.Now()
		for range 8 {
			all.Go(func() {
				if err := ask(); !errors.Is(err, backend.NoRoom) || errors.Is(err, pool.ErrNoHost) {
					t.Errorf("got %v, want that there is no room", err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); asked != 2 || took > 2*time.Second {
			t.Errorf("hosts were asked %d times in %v, want once each", asked, took)
		}
		const want = "gpu-1, gpu-2: not enough memory for the model: model requires more system memory (476.8 GiB) than is available (21.6 GiB)"
		if err := ask(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
		for _, name := range []string{"gpu-1", "gpu-2"} { // may have been started anew
			p.Know(name, pool.Facts{})
			p.Know(name, pool.Facts{Up: true})
		}
		if err := ask(); !errors.Is(err, backend.NoRoom) || asked != 4 {
			t.Errorf("got %v after %d times, want each to be asked once more", err, asked)
		}
	})
}

func TestHostWithoutRoomIsNoReasonToGiveUpOneThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Hosts: named("gpu-1", "gpu-2"), Slots: 1})
		var asked []string
		err := p.With(t.Context(), route.Need{Model: "m:latest"}, onHosts(&asked, map[string]error{
			"gpu-1": noRoom(), "gpu-2": failure(backend.Transport, "connection refused"),
		}))
		if !errors.Is(err, pool.ErrNoHost) || !errors.Is(err, backend.Transport) || !errors.Is(err, backend.NoRoom) {
			t.Errorf("got %v, want both failures", err)
		}
		if n := len(asked) - 1; asked[0] != "gpu-1" || slices.Contains(asked[1:], "gpu-1") || n < 2 {
			t.Errorf("asked %v, want gpu-1 once and gpu-2 again", asked)
		}
	})
}
