package inference

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/schema"
	"ollama-mcp/pool"
)

func TestNotesSayWhatAReaderOfTheAnswerMustKnow(t *testing.T) {
	for name, tc := range map[string]struct {
		prompt    int // bytes
		a         backend.Answer
		truncated *promptTooLong
		want      []string // beginnings
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
			want: []string{"The model's answer is empty: it spent all its 128 tokens on thinking"},
		},
		"nothing": {
			a:    backend.Answer{DoneReason: "stop"},
			want: []string{"The model's answer is empty."},
		},
		"an empty prompt": {
			a:    backend.Answer{DoneReason: "load"},
			want: []string{"The prompt was empty"},
		},
		"too long an answer, in the words of another server": {
			a:    backend.Answer{Text: "yes", DoneReason: "max_output_tokens", Tokens: 128},
			want: []string{"The answer was cut after 128 tokens."},
		},
		"an empty prompt that unloads": {
			a:    backend.Answer{DoneReason: "unload"},
			want: []string{"The prompt was empty: the model was unloaded"},
		},
		"a filter": {
			a:    backend.Answer{Text: "yes, but", DoneReason: "content_filter"},
			want: []string{`The answer is incomplete: a stopped it by a filter ("content_filter").`},
		},
		"a filter before the first word": {
			a:    backend.Answer{DoneReason: "refusal"},
			want: []string{`The answer is incomplete: a stopped it by a filter ("refusal").`},
		},
		"no reason": {
			a:    backend.Answer{Text: "yes", DoneReason: backend.NoReason},
			want: []string{"The answer may be incomplete: a did not say why it ended."},
		},
		"a reason that we do not know": {
			a:    backend.Answer{Text: "yes", DoneReason: "bored"},
			want: []string{`The answer may be incomplete: a gave an unknown reason for its end ("bored").`},
		},
		"our own time limit": {
			a:    backend.Answer{Text: "yes", DoneReason: doneTimeout},
			want: []string{"The answer was cut by the time limit of 55s."},
		},
		"a prompt that the host refused whole": {
			prompt: 40_000, truncated: &promptTooLong{prompt: 10_000, context: 2048},
			a:    backend.Answer{Text: "yes", DoneReason: "stop", PromptTokens: 2048},
			want: []string{"The prompt (about 10000 tokens) did not fit the model's context: its oldest part was cut and the model read only 2048 tokens."},
		},
		"a prompt that was cut silently": {
			prompt: 40_000,
			a:      backend.Answer{Text: "yes", DoneReason: "length", PromptTokens: 2048},
			want:   []string{"The prompt (about 10000 tokens) may have been cut", "The answer was cut after"},
		},
		"a host that does not count": {
			prompt: 40_000,
			a:      backend.Answer{Text: "yes", DoneReason: "stop"},
		},
	} {
		task := &task{Engine: new(Engine), text: tc.prompt, limit: 55 * time.Second}
		got := task.notes(&result{answer: &tc.a, truncated: tc.truncated, served: Served{Host: "a"}})
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

func TestEscapedInvisibleCharactersAreRemovedFromData(t *testing.T) {
	wanted, err := schema.CompileFormat(json.RawMessage(`"json"`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&answerFormat{schema: wanted}).parse(`{"a\u202e":["b\u001b[31m",{"c":"d\udb40\udc41"}],"n":1}`)
	want := map[string]any{"a": []any{"b[31m", map[string]any{"c": "d"}}, "n": json.Number("1")}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, error %v", got, err)
	}
}

func TestErrorOfAnUnusableFormatNamesTheArgument(t *testing.T) {
	for raw, want := range map[string]string{
		`{"type":"objekt"}`:                  `argument "format" is not a valid JSON schema`,
		`{"$ref":"#/nope"}`:                  `argument "format" is not a valid JSON schema: it refers to "#/nope", which is not in it`,
		`{"$ref":"#"}`:                       `argument "format" refers at "#" to itself and to nothing else`,
		`{"type":"string","maxLength":2001}`: `argument "format" has a maxLength of 2001 at "#"`,
	} {
		e := engine(t)
		_, err := e.newTask(Request{Common: Common{Model: "m"}, Format: json.RawMessage(raw)}, e.Begin(CallInfo{}))
		if err == nil || !strings.HasPrefix(err.Error(), want) || fault.Of(err).Code != fault.InvalidArgument {
			t.Errorf("%s: got %v, want %s", raw, err, want)
		}
	}
}

func TestAnswerIsCheckedAgainstTheFormat(t *testing.T) {
	object := `{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`
	for _, tc := range []struct {
		format, answer, want string
		done                 backend.EndReason
	}{
		{object, `{"n":1}`, "", "stop"},
		{object, `{"n":"one"}`, "/n", "stop"},
		{object, `{}`, "missing", "stop"},
		{object, `{"n":`, "does not fit the format: unexpected EOF; try again", "stop"},
		{object, `{"n":`, "since it was cut after 0 tokens; raise options.num_predict", "length"},
		{object, `{"n":`, "since it was cut after 0 tokens; raise options.num_predict", "max_tokens"},
		{object, `{"n":`, `since the host stopped it by a filter ("SAFETY"); put`, "SAFETY"},
		{object, ` `, "does not fit the format: it is empty; try again", "stop"},
		{`"json"`, `{"anything":true}`, "", "stop"},
		{`"json"`, `[1]`, "want object", "stop"},
		{`{"type":"array"}`, `[1]`, "", "stop"},
	} {
		e := engine(t)
		task, err := e.newTask(Request{Common: Common{Model: "m"}, Format: json.RawMessage(tc.format)}, e.Begin(CallInfo{}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = task.respond(&result{answer: &backend.Answer{Text: tc.answer, DoneReason: tc.done}})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s for %s: got %v, want %q", tc.answer, tc.format, err, tc.want)
		}
	}
}

// engine makes an engine without hosts.
func engine(t *testing.T) *Engine {
	t.Helper()
	hosts, err := pool.New(pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Options{Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}
