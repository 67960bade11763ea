package pool_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestStatsShareNothingWithThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, pool.Options{Slots: 1})
		p.Know("gpu-1", pool.Facts{Up: true, Version: "0.17.4", Installed: []string{"m:latest"}, Loaded: []pool.Loaded{{Model: "m:latest", NumCtx: 4096}}})
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { _ = p.With(t.Context(), route.Need{Caller: "ci", Bytes: 7}, hold(time.Second)) })
		}
		synctest.Wait()
		s := p.Stats()
		h := s.Hosts[0]
		if !h.Well || h.Version != "0.17.4" || h.Busy != 1 || h.Slots != 1 || h.Installed != 1 || !slices.Equal(h.Loaded, []string{"m:latest"}) {
			t.Errorf("the host: %+v", h)
		}
		if s.Queue.Waiting != 1 || s.Queue.Bytes != 7 || s.Queue.Interactive != 1 || s.Queue.Callers["ci"] != 1 {
			t.Errorf("the queue: %+v", s.Queue)
		}
		s.Queue.Callers["ci"] = 99
		h.Loaded[0], h.Checked[0].Model = "x", "x"
		again := p.Stats()
		if again.Queue.Callers["ci"] != 1 || again.Hosts[0].Loaded[0] != "m:latest" || again.Hosts[0].Checked[0].Model != "m:latest" {
			t.Errorf("writing into stats changed the pool: %+v", again)
		}
		all.Wait()
	})
}
