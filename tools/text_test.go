package tools

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
)

func TestNotesSayWhatAReaderOfTheAnswerMustKnow(t *testing.T) {
	for name, tc := range map[string]struct {
		q    question
		a    backend.Answer
		cut  *promptTooLong
		want []string // beginnings
	}{
		"a plain answer": {
			a: backend.Answer{Text: "yes", DoneReason: "stop"},
		},
		"a call of a tool and no text": {
			a: backend.Answer{ToolCalls: make([]backend.ToolCall, 1), DoneReason: "stop"},
		},
		"too long an answer": {
			a:    backend.Answer{Text: "yes", DoneReason: "length", Tokens: 128},
			want: []string{"The answer was cut after 128 tokens."},
		},
		"all spent on thinking": {
			a:    backend.Answer{Thinking: "hm", DoneReason: "length", Tokens: 128},
			want: []string{"The model spent all its 128 tokens on thinking"},
		},
		"nothing": {
			a:    backend.Answer{DoneReason: "stop"},
			want: []string{"The model answered nothing."},
		},
		"an empty prompt": {
			a:    backend.Answer{DoneReason: "load"},
			want: []string{"The prompt was empty"},
		},
		"our own time limit": {
			a:    backend.Answer{Text: "yes", DoneReason: doneTimeout},
			want: []string{"The answer was cut by the time limit of 55s."},
		},
		"a prompt that the host refused whole": {
			q: question{text: 40_000}, cut: &promptTooLong{prompt: 10_000, context: 2048},
			a:    backend.Answer{Text: "yes", DoneReason: "stop", PromptTokens: 2048},
			want: []string{"The prompt (about 10000 tokens) did not fit the model's context: its oldest part was cut and only 2048 tokens were read."},
		},
		"a prompt that was cut silently": {
			q:    question{text: 40_000},
			a:    backend.Answer{Text: "yes", DoneReason: "length", PromptTokens: 2048},
			want: []string{"The prompt (about 10000 tokens) may have been cut", "The answer was cut after"},
		},
		"a host that does not count": {
			q: question{text: 40_000},
			a: backend.Answer{Text: "yes", DoneReason: "stop"},
		},
	} {
		tc.q.limit = 55 * time.Second
		got := Deps{tokens: new(tokens)}.notes(tc.q, &outcome{answer: &tc.a, cut: tc.cut})
		if len(got) != len(tc.want) {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], tc.want[i]) {
				t.Errorf("%s: got %q, want %q", name, got[i], tc.want[i])
			}
		}
	}
}

func TestStructuredAnswerIsFreedOfWhatItsTextHasEscaped(t *testing.T) {
	wanted, err := format{json.RawMessage(`"json"`)}.compile()
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAs(wanted, &backend.Answer{Text: `{"a\u202e":["b\u001b[31m",{"c":"d\udb40\udc41"}],"n":1}`})
	want := map[string]any{"a": []any{"b[31m", map[string]any{"c": "d"}}, "n": json.Number("1")}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, error %v", got, err)
	}
}
