package e2e_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

func TestProgressComesWhileTheModelAnswersAndTheTimeLimitLeavesWhatThereIs(t *testing.T) {
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops}})
		s := connect(t, ollama, append(env, fullMeta)...)
		loadedOn(t, ollama, tinymodels.Loops.Name)
		before := 0
		longEnough(t, func(limit time.Duration) bool {
			before = ended(ollama, "/api/generate")
			p := s.start("generate", fmt.Sprintf(`{"model":"tiny-loops","prompt":%q,"timeout_seconds":%v}`, fresh(), limit.Seconds()))
			a := p.result()
			notes := p.told(" tokens, ")
			if len(notes) < 2 { // reports come by the clock, and here one came before the first token
				return false
			}
			if a.IsError || !strings.HasPrefix(a.text(), " tick tock tick") || a.Meta.Served.DoneReason != "timeout" ||
				!strings.HasPrefix(a.rest(), fmt.Sprintf("Note: The answer was cut by the time limit of %v.", limit)) {
				t.Errorf("got %.200s… (%+v, %s), want what there is and a note", a.text(), a.Meta.Served, a.rest())
			}
			words := len(strings.Fields(a.text()))
			if got := a.Meta.Served.TokensOut; got != words {
				t.Errorf("tokens_out is %d, and %d came", got, words)
			}
			expectRising(t, notes, words)
			return true
		})
		eventually(t, "Ollama has stopped", func() bool { return ended(ollama, "/api/generate") > before })
	})
}

// expectRising wants reports of more and more tokens, but of no more than there are.
func expectRising(t *testing.T, notes []*mcp.ProgressNotificationParams, most int) {
	t.Helper()
	var last struct {
		progress float64
		tokens   int
	}
	for _, note := range notes {
		var tokens int
		if _, err := fmt.Sscanf(note.Message, "%d tokens, ", &tokens); err != nil {
			t.Errorf("%q: %v", note.Message, err)
		}
		if note.Progress <= last.progress || tokens <= last.tokens || tokens > most {
			t.Errorf("after %+v came %+v", last, note)
		}
		last.progress, last.tokens = note.Progress, tokens
	}
}

func TestProgressComesBeforeItsAnswerAndNoneAfter(t *testing.T) {
	s := connect(t, shared)
	// The first report is due after half a second: as these calls end, or nearly so.
	for n := range 10 {
		s.start("generate", fmt.Sprintf(`{"model":"tiny-loops","prompt":%q,"timeout_seconds":%v}`, fresh(), 0.49+float64(n)/200)).result()
	}
	// So that there is one in any case.
	last := s.start("generate", fmt.Sprintf(`{"model":"tiny-loops","prompt":%q}`, fresh()))
	last.until(" tokens, ")
	s.stop(last, shared)

	var open string // token of the call in flight
	for line := range strings.Lines(s.wire.String()) {
		direction, message, _ := strings.Cut(line, ": ")
		switch {
		case direction == "write" && strings.Contains(message, `"progressToken"`):
			_, open, _ = strings.Cut(message, `"progressToken":`)
			open, _, _ = strings.Cut(open, "}")
		case direction == "read" && strings.Contains(message, "notifications/progress"):
			if open == "" || !strings.Contains(message, open) {
				t.Errorf("while the call in flight was %q: %s", open, message)
			}
		case direction == "read":
			open = ""
		}
	}
}

func TestTwentyCallsAtOnceEachGetTheirOwnAnswer(t *testing.T) {
	s := connect(t, shared, fullMeta)
	var calls sync.WaitGroup
	for i := range 10 {
		calls.Go(func() {
			a := s.start("generate", fmt.Sprintf(`{"model":"tiny-loops","prompt":"hi","options":{"num_predict":%d}}`, 2*i+2)).result()
			if want := strings.Repeat(" tick tock", i+1); a.text() != want || a.Meta.Served.TokensOut != 2*i+2 {
				t.Errorf("got %+v, want %q", a, want)
			}
		})
		calls.Go(func() {
			a := s.start("chat", fmt.Sprintf(`{"model":"tiny-says","messages":[{"role":"user","content":%q}]}`, strings.Repeat("x", i))).result()
			if a.text() != tinymodels.Says.Answer || a.Meta.Served.TokensIn != i+3 {
				t.Errorf("got %+v, want %q for a prompt of %d tokens", a, tinymodels.Says.Answer, i+3)
			}
		})
	}
	calls.Wait()
}
