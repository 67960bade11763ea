package inference

import (
	"reflect"
	"testing"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
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
