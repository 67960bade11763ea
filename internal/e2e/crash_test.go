package e2e_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// Ollama tells one of the calls that a crashed model was answering, and lets the others
// hang for as long as their callers care to wait.
func TestModelThatCrashesLosesNoneOfItsCalls(t *testing.T) {
	ollama := ollamatest.Start(t, ollamatest.Options{
		Models: []tinymodels.Model{tinymodels.Loops}, Env: []string{"OLLAMA_NUM_PARALLEL=4"},
	})
	ctx := deadline(t)
	s := attach(t, ctx, command(ctx, ollama.URL(), "--slots=4"), "")
	ask := func(tokens string) (lent, error) {
		return s.lend(`{"model":"tiny-loops","prompt":"hi","cache":"off","timeout_seconds":60,"options":{"num_predict":` + tokens + `}}`)
	}
	if _, err := ask("1"); err != nil {
		t.Fatal(err)
	}

	const callers, each, crashes = 12, 2, 3
	var calls sync.WaitGroup
	var retried, left atomic.Int64
	left.Store(callers * each)
	began := time.Now()
	for range callers {
		calls.Go(func() {
			for range each {
				l, err := ask("1000")
				if err != nil {
					t.Error(err)
				}
				retried.Add(int64(l.Retries))
				left.Add(-1)
			}
		})
	}
	for n := range int64(crashes) {
		before := left.Load()
		within(t, 60*time.Second, "calls are answered between crashes", func() bool { return left.Load() <= before-4 })
		if runners, err := ollama.Crash(); err != nil || runners != 1 {
			t.Fatalf("crash %d: ended %d runners, %v", n, runners, err)
		}
	}
	calls.Wait()
	t.Logf("%d calls through %d crashes in %v, %d tried again", callers*each, crashes, time.Since(began).Round(time.Millisecond), retried.Load())
	if retried.Load() == 0 {
		t.Error("no call was tried again, so none was there to be lost")
	}
}
