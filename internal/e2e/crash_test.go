package e2e_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// Ollama reports the crash to one of the calls that the model was answering, and leaves
// the others without an answer until their time is over.
func TestModelThatCrashesLosesNoneOfItsCalls(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		ollama := ollamatest.Start(t, ollamatest.Options{
			Models: []tinymodels.Model{tinymodels.Loops}, Env: []string{"OLLAMA_NUM_PARALLEL=4"},
		})
		ctx := deadline(t)
		cmd := command(ctx, ollama.URL(), "--slots=4", "--timeout=10m", "--result-meta=full")
		cmd.Env = append(cmd.Env, env...)
		s := attach(t, ctx, cmd, "")

		// More callers than slots, who call until all is over: so calls are under way
		// whenever the model crashes.
		const callers, crashes = 8, 3
		var stop atomic.Bool
		var answered [callers]atomic.Int64
		var retried atomic.Int64
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				for !stop.Load() {
					l, err := s.lend(fmt.Sprintf(`{"model":"tiny-loops","prompt":%q,"options":{"num_predict":300}}`, fresh()))
					if err != nil {
						t.Error(err)
						return
					}
					retried.Add(int64(l.Retries))
					answered[i].Add(1)
				}
			})
		}
		t.Cleanup(func() { stop.Store(true); all.Wait() })
		// A request that is hit by two crashes is taken for their cause, so the calls that
		// were there at one have ended before the next.
		renewed := func() bool {
			for i := range answered {
				if answered[i].Load() == 0 {
					return false
				}
			}
			return true
		}
		for n := range crashes {
			eventually(t, "all callers are answered between crashes", renewed)
			if runners, err := ollama.Crash(); err != nil || runners != 1 {
				t.Fatalf("crash %d: ended %d runners, %v", n, runners, err)
			}
			for i := range answered {
				answered[i].Store(0)
			}
		}
		eventually(t, "all calls that were there are answered", renewed)
		t.Logf("%d crashes, %d calls tried again", crashes, retried.Load())
		if retried.Load() == 0 {
			t.Error("no call was tried again, so none was there to be lost")
		}
	})
}
