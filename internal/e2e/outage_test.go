package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

func TestSessionOutlivesAnOllamaThatIsDown(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says, tinymodels.Words}})
		s := connect(t, ollama, env...)
		s.stillAnswers(t)

		ollama.Kill()
		for tool, call := range map[string]*pending{ // each is tried again for a while
			"generate":    s.start("generate", fmt.Sprintf(`{"model":"tiny-says","prompt":%q}`, fresh())),
			"chat":        s.start("chat", `{"model":"tiny-says","messages":[{"role":"user","content":"hi"}]}`),
			"embed":       s.start("embed", `{"model":"tiny-words","input":"hi"}`),
			"list-models": s.start("list-models", `{}`),
		} {
			a := call.result()
			wantError(t, a, "no_host", hostName(ollama), "ollama serve", "doctor")
			if a.StructuredContent["retryable"] != true {
				t.Errorf("%s: not called retryable: %+v", tool, a)
			}
		}

		if err := ollama.Restart(s.ctx); err != nil {
			t.Fatal(err)
		}
		s.stillAnswers(t)
	})
}

func TestAnswerOfAnOllamaThatDiesIsNotLost(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops, tinymodels.Says}})
		s := connect(t, ollama, env...)
		p := s.start("generate", `{"model":"tiny-loops","prompt":"hi"}`)
		p.until(" tokens, ")
		ollama.Kill()
		a := p.result()
		wantError(t, a, "no_host", hostName(ollama))
		if !strings.HasPrefix(a.rest(), " tick tock tick") {
			t.Errorf("what had been answered is lost: %+v", a)
		}

		if err := ollama.Restart(s.ctx); err != nil {
			t.Fatal(err)
		}
		s.stillAnswers(t)
	})
}

// A laptop whose lid is shut keeps its connections, and says nothing on them.
func TestCallOnAHostThatFreezesAmidItsAnswerIsAnsweredByAnother(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		says := tinymodels.Says
		says.Name = tinymodels.Loops.Name
		a := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops}})
		b := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{says}})
		s := connect(t, a, append(env, "OLLAMA_MCP_CONFIG="+ladderFile(t, "tiny-loops", shared, a, b), fullMeta)...)
		s.succeeds("generate", `{"model":"tiny-loops","prompt":"hi","host":"a","options":{"num_predict":1}}`) // it is in memory there alone
		p := s.start("generate", `{"model":"tiny-loops","prompt":"hi"}`)
		p.until(" tokens, ")
		if err := a.Freeze(); err != nil {
			t.Fatal(err)
		}
		if got := p.result(); got.text() != says.Answer || got.Meta.Served.Host != "b" {
			t.Errorf("got %+v, want the answer of the other host", got)
		}
	})
}

// Ollama gives up loading a model when the client that needs it leaves.
func TestModelIsLoadedThoughTheCallThatNeededItRanOutOfTime(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}})
		load := startGate(t, ollama)
		ctx := deadline(t)
		cmd := command(ctx, load.URL)
		cmd.Env = append(cmd.Env, env...)
		s := attach(t, ctx, cmd, "")
		longEnough(t, func(limit time.Duration) bool {
			_, _, before := load.counts()
			a := s.start("generate", fmt.Sprintf(`{"model":"tiny-says","prompt":%q,"timeout_seconds":%v}`, fresh(), limit.Seconds())).result()
			if _, _, arrived := load.counts(); arrived == before {
				return false // it did not get as far as the host
			}
			wantError(t, a, "timeout", "goes on loading")
			return true
		})
		load.open()
		eventually(t, "the model is loaded", func() bool {
			running, err := ollama.Client().ListRunning(s.ctx)
			return err == nil && len(running.Models) == 1
		})
		s.stillAnswers(t)
	})
}
