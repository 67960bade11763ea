package e2e_test

import (
	"context"
	"errors"
	"testing"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

func TestCancelledCallStopsOllamaAndLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops, tinymodels.Says}})
		s := connect(t, ollama, env...)
		s.stillAnswers(t)
		files := openFiles(t, s.cmd.Process.Pid)
		for tool, args := range map[string]string{
			"generate": `{"model":"tiny-loops","prompt":"hi"}`,
			"chat":     `{"model":"tiny-loops","messages":[{"role":"user","content":"hi"}]}`,
		} {
			p := s.start(tool, args)
			p.until(" tokens, ")
			before := ended(ollama, "/api/"+tool)
			p.cancel()
			<-p.done
			if !errors.Is(p.err, context.Canceled) {
				t.Errorf("%s: got %+v, %v, want that it was cancelled", tool, p.answer, p.err)
			}
			eventually(t, tool+": Ollama has stopped", func() bool { return ended(ollama, "/api/"+tool) > before })
		}
		s.stillAnswers(t)
		eventually(t, "no more files are open than before", func() bool { return openFiles(t, s.cmd.Process.Pid) <= files })
	})
}

func TestCallCancelledInTheQueueNeverReachesOllama(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops, tinymodels.Says}})
		s := connect(t, ollama, append(env, "OLLAMA_MCP_SLOTS=1", fullMeta)...)
		first := s.start("generate", `{"model":"tiny-loops","prompt":"hi"}`)
		first.until(" tokens, ")
		queued := s.start("chat", `{"model":"tiny-says","messages":[{"role":"user","content":"hi"}]}`)
		queued.until("queued, 1st of 1")
		last := s.start("generate", `{"model":"tiny-says","prompt":"hi"}`)
		last.until("queued, 2nd of 2")

		queued.cancel()
		last.until("queued, 1st of 1")
		first.cancel()
		if a := last.result(); a.text() != tinymodels.Says.Answer || a.Meta.Served.Queue == 0 {
			t.Errorf("the call behind it: got %+v", a)
		}
		if ended(ollama, "/api/chat") != 0 {
			t.Error("the cancelled call was made")
		}
	})
}
