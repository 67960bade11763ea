package e2e_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

func TestProgressComesWhileTheModelAnswersAndTheTimeLimitLeavesWhatThereIs(t *testing.T) {
	ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops}})
	s := connect(t, ollama)
	p := s.start("generate", `{"model":"tiny-loops","prompt":"hi","timeout_seconds":3}`)
	notes := []*mcp.ProgressNotificationParams{p.until(" tokens, "), p.until(" tokens, ")}
	a := p.result()
	if a.IsError || !strings.HasPrefix(a.text(), " tick tock tick") || a.Meta.Served.DoneReason != "timeout" ||
		!strings.HasPrefix(a.rest(), "Note: The answer was cut by the time limit of 3s.") {
		t.Errorf("got %.200s… (%+v, %s), want what there is and a note", a.text(), a.Meta.Served, a.rest())
	}
	words := len(strings.Fields(a.text()))
	if got := a.Meta.Served.TokensOut; got != words {
		t.Errorf("tokens_out is %d, and %d came", got, words)
	}
	var last struct {
		progress float64
		tokens   int
	}
	for _, note := range notes {
		var tokens int
		if _, err := fmt.Sscanf(note.Message, "%d tokens, ", &tokens); err != nil {
			t.Errorf("%q: %v", note.Message, err)
		}
		if note.Progress <= last.progress || tokens <= last.tokens || tokens > words {
			t.Errorf("after %+v came %+v", last, note)
		}
		last.progress, last.tokens = note.Progress, tokens
	}
	eventually(t, "Ollama has stopped", func() bool { return ended(ollama, "/api/generate") == 1 })
}

func TestProgressComesBeforeItsAnswerAndNoneAfter(t *testing.T) {
	s := connect(t, shared)
	s.succeeds("generate", `{"model":"tiny-loops","prompt":"hi","options":{"num_predict":1}}`) // so that it is loaded
	for range 3 {                                                                              // the first report is due after half a second
		s.succeeds("generate", `{"model":"tiny-loops","prompt":"hi","timeout_seconds":0.51}`)
	}
	s.succeeds("list-models", `{}`)
	var open string // token of the call in flight
	var reports int
	for line := range strings.Lines(s.wire.String()) {
		direction, message, _ := strings.Cut(line, ": ")
		switch {
		case direction == "write" && strings.Contains(message, `"progressToken"`):
			_, open, _ = strings.Cut(message, `"progressToken":`)
			open, _, _ = strings.Cut(open, "}")
		case direction == "read" && strings.Contains(message, "notifications/progress"):
			reports++
			if open == "" || !strings.Contains(message, open) {
				t.Errorf("while the call in flight was %q: %s", open, message)
			}
		case direction == "read":
			open = ""
		}
	}
	if reports == 0 {
		t.Error("no progress came at all")
	}
}

func TestTwentyCallsAtOnceEachGetTheirOwnAnswer(t *testing.T) {
	s := connect(t, shared)
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
