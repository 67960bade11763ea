package inference

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/semantic"
)

// fullResult is a result of which no field that is shared has its zero value.
func fullResult() *result {
	load := int64(3)
	return &result{
		answer: &backend.Answer{
			Text: "because", Thinking: "why?", DoneReason: "stop", Dropped: []string{"num_ctx"}, Remote: "ollama.com",
			Logprobs:     []backend.Logprob{{TokenLogprob: backend.TokenLogprob{Token: "be", Logprob: -0.5}, TopLogprobs: []backend.TokenLogprob{{Token: "cause", Logprob: -1}}}},
			PromptTokens: 1, Tokens: 2, FirstPiece: time.Second, Load: time.Second, PromptEval: time.Second, Eval: time.Second, Total: time.Second,
		},
		served: Served{
			Trace: "t", Requested: "tiny", Model: "tiny", Host: "gpu-1", Source: Local, Rung: 1, TokensIn: 1, TokensOut: 2, TokensPerSecond: 3,
			Retries: 1, Hedged: true, Overridden: []string{"num_ctx"}, Queue: 1, Load: &load, FirstToken: 1, Total: 1, DoneReason: "stop",
		},
		clamped: "clamped", pinned: "pinned", lowered: "lowered", repaired: "repaired", think: &backend.ThinkValue{Value: "high"},
	}
}

func TestSharedResultIsTheSameOnAnotherReplica(t *testing.T) {
	want := fullResult()
	value, ok := codec{}.Decode(codec{}.Encode(want))
	if !ok || !reflect.DeepEqual(value, want) {
		t.Errorf("got %+v, want %+v", value, want)
	}
}

func TestResultsThatAreForThisReplicaAreNotShared(t *testing.T) {
	cut, similar := fullResult(), fullResult()
	cut.truncated, similar.similarTo = new(promptTooLong), "how?"
	for _, v := range []cache.Value{cut, similar, vector{1}} {
		if data := (codec{}).Encode(v); data != nil {
			t.Errorf("%T is shared: %s", v, data)
		}
	}
}

func TestOnlyAnswersOfUseAreTakenFromOtherReplicas(t *testing.T) {
	for _, data := range []string{
		"", "null", "{}", "[1]", `{"answer":null}`, `{"answer":{"Text":"cut","DoneReason":"length"}}`, `{"answer":{"Text":" ","DoneReason":"stop"}}`, `{"answer":{"Text":"no end"}}`,
		`{"answer":{"Text":"because","DoneReason":"stop","ToolCalls":[{}]}}`,
	} {
		if v, ok := (codec{}).Decode([]byte(data)); ok {
			t.Errorf("%s is taken as %+v", data, v)
		}
	}
	v, ok := codec{}.Decode([]byte(`{"answer":{"Text":"be\udb40\udc41cause","DoneReason":"stop"}}`))
	if !ok || v.(*result).answer.Text != "because" {
		t.Errorf("got %+v, want it without the invisible character", v)
	}
}

// told is a question as another replica would tell of it.
func told(t testing.TB) (scope cache.Scope, ns semantic.Namespace, v vector, e semantic.Entry[cache.Key]) {
	t.Helper()
	scope = cache.Scope{Tenant: "team", Tool: "generate", Model: "tiny:latest", Digest: "sha256:1"}
	key, err := cache.KeyOf(scope, "request")
	if err != nil {
		t.Fatal(err)
	}
	ns = semantic.Namespace{Tenant: "team", Model: "tiny:latest", Rest: "rest"}
	e = semantic.Entry[cache.Key]{Key: key, Question: "what is the capital of France?", Answer: [32]byte{1}, Stored: time.Date(2026, 11, 29, 12, 0, 0, 5, time.UTC)}
	return scope, ns, vector{0.5, -1e-7, 3}, e
}

func TestQuestionIsTheSameOnAnotherReplica(t *testing.T) {
	scope, ns, v, e := told(t)
	gotNs, gotV, gotE, ok := decodeQuestion(scope, encodeQuestion(ns, v, e))
	if !ok || gotNs != ns || !slices.Equal(gotV, v) || gotE != e {
		t.Errorf("got %+v %v %+v, %v", gotNs, gotV, gotE, ok)
	}
}

func TestOnlyQuestionsOfUseAreHeard(t *testing.T) {
	engine := &Engine{}
	var err error
	if engine.semantic, err = newSemanticCache(SemanticOptions{Model: "words", TTL: 365 * 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	scope, ns, v, e := told(t)
	e.Stored = time.Now().Add(time.Hour) // by a clock that is ahead
	good := string(encodeQuestion(ns, v, e))
	long, short, none := e, e, vector{}
	long.Question, short.Question = strings.Repeat("why is that so? ", 1000), "why?"
	for name, raw := range map[string]string{
		"nothing": "", "null": "null", "a list": "[1]", "an object": "{}", "cut": good[:len(good)/2],
		"no key":       strings.Replace(good, e.Key.String(), "00", 1),
		"half numbers": strings.Replace(good, `"v":"`, `"v":"AAAA`, 1),
		"no vector":    string(encodeQuestion(ns, none, e)),
		"not a number": string(encodeQuestion(ns, vector{float32(math.NaN()), 0, 0}, e)),
		"large":        string(encodeQuestion(ns, make(vector, mostDimensions+1), e)),
		"long":         string(encodeQuestion(ns, v, long)),
		"short":        string(encodeQuestion(ns, v, short)),
	} {
		if engine.HearQuestion(scope, []byte(raw)) {
			t.Errorf("%s: %.200s is heard", name, raw)
		}
	}
	old := e
	old.Stored = time.Now().Add(-366 * 24 * time.Hour)
	if !engine.HearQuestion(scope, encodeQuestion(ns, v, old)) {
		t.Error("one that is too old is no fault")
	}
	if n, _ := engine.semantic.index.Size(); n != 0 {
		t.Errorf("%d of them are remembered", n)
	}
	if !engine.HearQuestion(scope, []byte(good)) || engine.HearQuestion(scope, encodeQuestion(ns, vector{1, 2}, e)) {
		t.Error("a good one is not heard, or one whose vector does not fit those that are remembered is")
	}
	if got := engine.semantic.index.Nearest(ns, v, 1); len(got) != 1 || got[0].Key != e.Key || got[0].Stored.After(time.Now()) {
		t.Errorf("got %+v", got)
	}
	if !new(Engine).HearQuestion(scope, []byte(good)) {
		t.Error("a replica that compares nothing calls it unreadable")
	}
}

func FuzzDecodeQuestion(f *testing.F) {
	scope, ns, v, e := told(f)
	f.Add(encodeQuestion(ns, v, e))
	f.Add([]byte(`{"k":"00","v":"AAAA"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ns, v, e, ok := decodeQuestion(scope, raw)
		if !ok {
			return
		}
		if ns.Tenant != scope.Tenant || ns.Model != scope.Model || e.Key.Scope() != scope {
			t.Fatalf("the question leaves its scope: %+v %+v", ns, e.Key.Scope())
		}
		if _, again, e2, ok := decodeQuestion(scope, encodeQuestion(ns, v, e)); !ok || len(again) != len(v) || e2.Key != e.Key || e2.Answer != e.Answer {
			t.Errorf("got %+v again, %v, want %+v", e2, ok, e)
		}
	})
}
