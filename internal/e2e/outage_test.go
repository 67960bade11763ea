package e2e_test

import (
	"strings"
	"testing"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

func TestSessionOutlivesAnOllamaThatIsDown(t *testing.T) {
	ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says, tinymodels.Words}})
	s := connect(t, ollama)
	s.stillAnswers(t)

	ollama.Kill()
	name := strings.TrimPrefix(ollama.URL(), "http://")
	for tool, call := range map[string]*pending{ // each is tried again for a while
		"generate":    s.start("generate", `{"model":"tiny-says","prompt":"hi","cache":"off"}`),
		"chat":        s.start("chat", `{"model":"tiny-says","messages":[{"role":"user","content":"hi"}]}`),
		"embed":       s.start("embed", `{"model":"tiny-words","input":"hi"}`),
		"list-models": s.start("list-models", `{}`),
	} {
		a := call.result()
		wantError(t, a, "no_host", name, "ollama serve", "doctor")
		if a.StructuredContent["retryable"] != true {
			t.Errorf("%s: not called retryable: %+v", tool, a)
		}
	}

	if err := ollama.Restart(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.stillAnswers(t)
}

func TestAnswerOfAnOllamaThatDiesIsNotLost(t *testing.T) {
	ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops, tinymodels.Says}})
	s := connect(t, ollama)
	p := s.start("generate", `{"model":"tiny-loops","prompt":"hi"}`)
	p.until(" tokens, ")
	ollama.Kill()
	a := p.result()
	wantError(t, a, "no_host", strings.TrimPrefix(ollama.URL(), "http://"))
	if !strings.HasPrefix(a.rest(), " tick tock tick") {
		t.Errorf("what had been answered is lost: %+v", a)
	}

	if err := ollama.Restart(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.stillAnswers(t)
}

// Ollama gives up loading a model when the caller leaves. A limit below the time
// that a load takes at best is one that no model can keep.
func TestModelIsLoadedThoughTheCallThatNeededItRanOutOfTime(t *testing.T) {
	ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}})
	s := connect(t, ollama)
	s.fails("generate", `{"model":"tiny-says","prompt":"hi","timeout_seconds":0.05}`, "timeout", "being loaded on")
	eventually(t, "the model is loaded", func() bool {
		running, err := ollama.Client().ListRunning(s.ctx)
		return err == nil && len(running.Models) == 1
	})
	s.stillAnswers(t)
}
