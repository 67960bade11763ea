package tools

import (
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/progress"
	"ollama-mcp/internal/route"
)

func TestProgressTellsOfAFailedHost(t *testing.T) {
	p := progress.New(nil)
	Deps{}.need(caller.Caller{}, p, "m", modelArgs{}, 0).OnRetry(route.Retry{Host: "gpu-1"})
	if got, want := p.Message(), "gpu-1 failed; trying again"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWaitIsCalledByItsLikelyName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w warmth
		if got := w.doing("gpu-1", "m:latest"); got != "loading m:latest on gpu-1" {
			t.Errorf("at first: %q", got)
		}
		w.answered("gpu-1", "m:latest")
		if got := w.doing("gpu-1", "m:latest"); got != "reading the prompt on gpu-1" {
			t.Errorf("after an answer: %q", got)
		}
		time.Sleep(warmFor)
		if got := w.doing("gpu-1", "m:latest"); got != "loading m:latest on gpu-1" {
			t.Errorf("when it is likely to have been unloaded: %q", got)
		}
	})
}
