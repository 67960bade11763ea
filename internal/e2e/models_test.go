package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/types/model"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// listedModel is a model in the result of list-models.
type listedModel struct {
	Name         string             `json:"name"`
	Size         int64              `json:"size_bytes"`
	Context      int                `json:"context_length"`
	Capabilities []model.Capability `json:"capabilities"`
	Hosts        []string           `json:"hosts"`
	Loaded       []string           `json:"loaded"`
}

func (s *session) listModels(args string) (models []listedModel) {
	s.t.Helper()
	a := s.succeeds("list-models", args)
	convert(s.t, a.StructuredContent["models"], &models)
	return models
}

// convert converts decoded JSON of any type to a type of ours.
func convert(t *testing.T, from, to any) {
	t.Helper()
	raw, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(raw, to)
	}
	if err != nil {
		t.Fatalf("%v is not a %T: %v", from, to, err)
	}
}

// sharedHost is the name of the shared Ollama in answers.
func sharedHost() string { return strings.TrimPrefix(shared.URL(), "http://") }

func TestListModelsTellsWhatOllamaHas(t *testing.T) {
	s := connect(t, shared)
	s.succeeds("generate", `{"model":"tiny-says","prompt":"hi"}`)
	listed := s.listModels(`{}`)
	if len(listed) != len(tinymodels.All) {
		t.Errorf("%d models are listed, want %d", len(listed), len(tinymodels.All))
	}
	for _, m := range tinymodels.All {
		i := slices.IndexFunc(listed, func(l listedModel) bool { return l.Name == m.Name+":latest" })
		if i < 0 {
			t.Errorf("%s is not listed", m.Name)
			continue
		}
		shown, err := shared.Client().Show(s.ctx, &api.ShowRequest{Model: m.Name})
		if err != nil {
			t.Fatal(err)
		}
		got := listed[i]
		if !slices.Equal(got.Capabilities, shown.Capabilities) || got.Size == 0 || got.Context == 0 || !slices.Equal(got.Hosts, []string{sharedHost()}) {
			t.Errorf("%s: got %+v, want the capabilities %v, a size, a context and the host", m.Name, got, shown.Capabilities)
		}
		if m.Name == tinymodels.Says.Name && !slices.Equal(got.Loaded, got.Hosts) {
			t.Errorf("%s has just answered and is not called loaded: %+v", m.Name, got)
		}
	}
}

func TestListModelsFindsModelsByWhatTheyCanDo(t *testing.T) {
	s := connect(t, shared)
	if got := s.listModels(`{"capability":"embedding"}`); len(got) != 1 || got[0].Name != "tiny-words:latest" {
		t.Errorf("embedding: got %+v, want tiny-words alone", got)
	}
	if got := s.listModels(`{"query":"THINKS","capability":"thinking"}`); len(got) != 2 {
		t.Errorf("thinking: got %+v, want both that think", got)
	}
}

func TestAnswersAreTheModelsWordsAndSayWhatServedThem(t *testing.T) {
	s := connect(t, shared, fullMeta)
	for tool, args := range map[string]string{
		"generate": `{"model":"tiny-says","prompt":"Who jumps?"}`,
		"chat":     `{"model":"tiny-says","messages":[{"role":"user","content":"Who jumps?"}]}`,
	} {
		a := s.succeeds(tool, args)
		if len(a.Content) != 1 || a.text() != tinymodels.Says.Answer || a.StructuredContent != nil {
			t.Errorf("%s: got %+v, want the text %q and nothing else", tool, a, tinymodels.Says.Answer)
		}
		got := a.Meta.Served
		want := served{
			Requested: "tiny-says", Model: "tiny-says", Host: sharedHost(), Source: "local", DoneReason: "stop",
			TokensIn:  len("Who jumps?") + len([]string{"<|user|>", "<|end|>", "<|assistant|>"}),
			TokensOut: len(strings.Fields(tinymodels.Says.Answer)) + len([]string{"<|end|>"}),
			// The values that differ from call to call are checked below.
			Trace: got.Trace, TokensPerSecond: got.TokensPerSecond,
			Queue: got.Queue, Load: got.Load, FirstToken: got.FirstToken, Total: got.Total,
		}
		if got != want || len(got.Trace) != 16 || got.TokensPerSecond <= 0 ||
			got.Load < 0 || got.FirstToken < got.Load || got.Total < got.Queue+got.FirstToken {
			t.Errorf("%s: served by\n%+v, want\n%+v", tool, got, want)
		}
	}
}

func TestEveryRevisionOfTheProtocolIsServed(t *testing.T) {
	for _, version := range mcp.SupportedProtocolVersions() {
		t.Run(version, func(t *testing.T) {
			ctx := deadline(t)
			s := attach(t, ctx, command(ctx, shared.URL()), version)
			want := version
			if version == "2025-03-26" { // which demands that batches are taken
				want = "2024-11-05"
			}
			if got := s.InitializeResult().ProtocolVersion; got != want {
				t.Errorf("the server speaks %s, want %s", got, want)
			}
			p := s.start("generate", `{"model":"tiny-loops","prompt":"hi"}`)
			p.until(" tokens, ")
			p.cancel()
			s.stillAnswers(t)
		})
	}
}

func TestEmbedPutsRelatedTextsNearEachOther(t *testing.T) {
	s := connect(t, shared)
	v := s.embed(`["what is a docker container?","explain docker container image please","how do I bake sourdough bread"]`)
	related, unrelated := cosine(v[0], v[1]), cosine(v[0], v[2])
	if related < 0.35 || unrelated > 0.2 {
		t.Errorf("%.2f to the related text, want 0.35 or more; %.2f to the other, want 0.2 or less", related, unrelated)
	}
}

func TestEmbeddingsTooLargeForAResultCanBeReadFromTheirLink(t *testing.T) {
	s := connect(t, shared)
	texts := strings.Fields(strings.Repeat("docker bread ", 25))
	input, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	a := s.succeeds("embed", `{"model":"tiny-words","input":`+string(input)+`}`)
	uri, _ := a.StructuredContent["uri"].(string)
	if a.StructuredContent["vectors"] != nil || uri == "" || len(a.Content) != 1 || !strings.Contains(a.text(), uri) {
		t.Fatalf("got %+v, want a URI in place of the vectors", a)
	}
	read, err := s.ReadResource(s.ctx, &mcp.ReadResourceParams{URI: uri})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Vectors [][]float32 }
	if err := json.Unmarshal([]byte(read.Contents[0].Text), &doc); err != nil || len(doc.Vectors) != len(texts) {
		t.Fatalf("the link leads to %d vectors (%v), want %d", len(doc.Vectors), err, len(texts))
	}
	for i, want := range s.embed(`["docker","bread"]`) {
		for at := i; at < len(texts); at += 2 {
			if got := cosine(doc.Vectors[at], want); got < 0.999 {
				t.Errorf("vector %d is not that of %q: %.3f", at, texts[at], got)
			}
		}
	}
	if _, err := s.ReadResource(s.ctx, &mcp.ReadResourceParams{URI: uri + "x"}); err == nil || !strings.Contains(err.Error(), "call embed again") {
		t.Errorf("an address that was never given: %v", err)
	}
}

func TestTextThatIsTooLongFailsAloneAndNamesItself(t *testing.T) {
	s := connect(t, shared)
	args := `{"model":"tiny-words","input":["short","` + strings.Repeat("long ", 600) + `"]`
	if a := s.succeeds("embed", args+`,"truncate":true}`); a.StructuredContent["count"] != 2.0 || !strings.Contains(fmt.Sprint(a.StructuredContent["notes"]), "input[1]") {
		t.Errorf("got %+v, want two vectors and a note about input[1]", a)
	}
	a := s.succeeds("embed", args+`}`)
	var got struct {
		Vectors [][]float32
		Errors  []struct {
			Index int
			Code  string
		}
		Notes []string
	}
	convert(t, a.StructuredContent, &got)
	if len(got.Vectors) != 2 || len(got.Vectors[0]) != 256 || got.Vectors[1] != nil {
		t.Errorf("got the vectors %v", got.Vectors)
	}
	if len(got.Errors) != 1 || got.Errors[0].Index != 1 || got.Errors[0].Code != "context_too_long" || !strings.Contains(fmt.Sprint(got.Notes), "input[1]") {
		t.Errorf("got %+v", a)
	}
	s.fails("embed", strings.Replace(args, `"short",`, "", 1)+`}`, "context_too_long")
}

// embed returns the vectors of some texts.
func (s *session) embed(input string) (vectors [][]float32) {
	s.t.Helper()
	a := s.succeeds("embed", `{"model":"tiny-words","input":`+input+`}`)
	convert(s.t, a.StructuredContent["vectors"], &vectors)
	return vectors
}

// cosine needs no norms: Ollama's vectors have length one.
func cosine(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func TestFormatGivesStructuredContentThatFits(t *testing.T) {
	const (
		answerSchema = `{"type":"object","properties":{"answer":{"type":"integer"}},"required":["answer"]}`
		personSchema = `{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"},"tags":{"type":"array","items":{"type":"string"}},"size":{"enum":["small","large"]}},"required":["name","age","tags","size"]}`
	)
	for _, c := range []struct{ name, model, format, want string }{
		{"its own schema", "tiny-json", answerSchema, `{"answer":42}`},
		{"any JSON", "tiny-json", `"json"`, `{"answer":42}`},
		{"another schema", "tiny-json", personSchema, `{"age":0,"name":"","size":"large","tags":[""]}`},
		{"a model of prose", "tiny-fills", personSchema, `{"age":0,"name":"return a + b","size":"large","tags":["return a + b"]}`},
		{"after a thought", "tiny-thinks", answerSchema, `{"answer":0}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := connect(t, shared).succeeds("chat", `{"model":"`+c.model+`","messages":[{"role":"user","content":"hi"}],"format":`+c.format+`}`)
			got, err := json.Marshal(a.StructuredContent)
			if err != nil || string(got) != c.want {
				t.Errorf("structured content is %s, want %s", got, c.want)
			}
			var text map[string]any
			if err := json.Unmarshal([]byte(a.text()), &text); err != nil {
				t.Errorf("the text is %q, which is not the same as JSON", a.text())
			}
		})
	}
}

func TestAnswerThatDoesNotFitItsFormatIsAFailureAndNotLost(t *testing.T) {
	s := connect(t, shared)
	a := s.fails("generate", `{"model":"tiny-json","prompt":"hi","format":"json","options":{"num_predict":2}}`,
		"upstream", "does not fit the format", "num_predict")
	if partial, _ := a.StructuredContent["partial"].(string); partial == "" || a.rest() != partial {
		t.Errorf("what had been answered is lost: %+v", a)
	}
}

func TestThoughtsAreKeptApartFromTheAnswer(t *testing.T) {
	s := connect(t, shared)
	for think, thought := range map[string]string{"": "", `,"think":false`: "", `,"think":true`: tinymodels.Thinks.Thought} {
		a := s.succeeds("chat", `{"model":"tiny-thinks","messages":[{"role":"user","content":"2+2?"}]`+think+`}`)
		if a.text() != tinymodels.Thinks.Answer || len(a.Content) != 1 || a.Meta.Thinking != thought {
			t.Errorf("with %q: got %+v, want the thought %q", think, a, thought)
		}
	}
}

func TestModelThatOnlyThinksIsGivenMoreAndThenSaidToHave(t *testing.T) {
	s := connect(t, shared)
	a := s.succeeds("generate", `{"model":"tiny-thinks-forever","prompt":"hi","think":true,"options":{"num_predict":20}}`)
	if a.text() != "" || !strings.HasPrefix(a.rest(), "Note: The model's first answer was empty: it spent all its 20 tokens on thinking, so it was asked again") ||
		!strings.Contains(a.rest(), "The model's answer is empty: it spent all its 1024 tokens on thinking.") {
		t.Errorf("got %+v, want nothing but a note", a)
	}
}

func TestToolCallsGoOutAndTheirResultsComeBack(t *testing.T) {
	const weather = `"tools":[{"type":"function","function":{"name":"get_weather","description":"d","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]`
	s := connect(t, shared)
	a := s.succeeds("chat", `{"model":"tiny-toolcall","messages":[{"role":"user","content":"weather?"}],`+weather+`}`)
	calls, err := json.Marshal(a.StructuredContent["tool_calls"])
	if err != nil || !strings.Contains(string(calls), `"name":"get_weather"`) || !strings.Contains(string(calls), `{"city":"Oslo"}`) {
		t.Fatalf("got %+v, want a call of get_weather for Oslo", a)
	}
	a = s.succeeds("chat", `{"model":"tiny-toolcall","messages":[{"role":"user","content":"weather?"},
		{"role":"assistant","tool_calls":`+string(calls)+`},{"role":"tool","tool_name":"get_weather","content":"sunny"}],`+weather+`}`)
	if a.text() != tinymodels.ToolCall.Answer || a.StructuredContent != nil {
		t.Errorf("after the tool has spoken: got %+v, want %q", a, tinymodels.ToolCall.Answer)
	}
}

func TestGapBeforeASuffixIsFilled(t *testing.T) {
	s := connect(t, shared)
	if a := s.succeeds("generate", `{"model":"tiny-fills","prompt":"def add(a, b):\n    ","suffix":"\n"}`); a.text() != tinymodels.Fills.Answer {
		t.Errorf("got %+v, want %q", a, tinymodels.Fills.Answer)
	}
}

func TestPromptThatDoesNotFitIsRefusedOrCutAndSaidToBe(t *testing.T) {
	s := connect(t, ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}}), fullMeta)
	args := `{"model":"tiny-says","prompt":"` + strings.Repeat("word ", 200) + `","options":{"num_ctx":256}`
	a := s.succeeds("generate", args+`,"truncate":true}`)
	if a.text() != tinymodels.Says.Answer || !strings.Contains(a.rest(), "did not fit the model's context") || a.Meta.Served.TokensIn > 256 {
		t.Errorf("got %+v, want a note and at most 256 tokens in", a)
	}
	s.fails("generate", args+`}`, "context_too_long", "num_ctx", "truncate")
	s.fails("generate", args+`,"truncate":false}`, "context_too_long", "num_ctx")
	if a := s.succeeds("generate", `{"model":"tiny-says","prompt":"hi","options":{"num_ctx":256}}`); len(a.Content) != 1 {
		t.Errorf("a prompt that fits: got %+v, want no note", a)
	}
}

func TestAnswerThatIsCutIsSaidToBe(t *testing.T) {
	s := connect(t, shared, fullMeta)
	a := s.succeeds("generate", `{"model":"tiny-loops","prompt":"hi","options":{"num_predict":6}}`)
	if a.text() != " tick tock tick tock tick tock" || !strings.HasPrefix(a.rest(), "Note: The answer was cut after 6 tokens.") || a.Meta.Served.DoneReason != "length" {
		t.Errorf("got %+v, want six words and a note", a)
	}
}

func TestStreamThatEndsWithoutAnEndIsAFailure(t *testing.T) {
	s := connect(t, shared)
	a := s.fails("generate", `{"model":"tiny-stutters","prompt":"hi"}`, "upstream", sharedHost())
	if !strings.HasPrefix(a.rest(), " no no no") {
		t.Errorf("what had been answered is lost: %+v", a)
	}
}

func TestMissingModelIsAnsweredWithTheNameThatIsMeant(t *testing.T) {
	s := connect(t, shared)
	s.fails("generate", `{"model":"tiny-say","prompt":"hi"}`, "model_not_found", "ollama pull tiny-say", `did you mean "tiny-says"`)
	s.fails("chat", `{"model":"tiny_json","messages":[{"role":"user","content":"hi"}]}`, "model_not_found", `"tiny-json"`)
	s.fails("embed", `{"model":"tinywords","input":"x"}`, "model_not_found", `"tiny-words"`)
}
