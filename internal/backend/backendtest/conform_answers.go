package backendtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
)

func generatedPiecesAddUp(t *testing.T, host *Host, b backend.Backend) {
	const text = "The quick brown fox, “jumps” over\nthe lazy <dog>."
	host.Answer(text)
	var pieces []string
	got, err := b.Generate(t.Context(), &backend.GenerateRequest{Model: Tiny, Prompt: "twelve bytes"},
		func(p backend.Piece) { pieces = append(pieces, p.Text) })
	if err != nil {
		t.Fatal(err)
	}
	if got.Text != text || strings.Join(pieces, "") != text {
		t.Errorf("got %q from pieces %q, want %q", got.Text, pieces, text)
	}
	if want := strings.Count(text, " ") + 1; len(pieces) != want || got.Tokens != want {
		t.Errorf("got %d pieces and %d tokens, want %d", len(pieces), got.Tokens, want)
	}
	if got.PromptTokens != 3 || got.DoneReason != "stop" {
		t.Errorf("got %d prompt tokens and reason %q, want 3 and stop", got.PromptTokens, got.DoneReason)
	}
}

// answerKeepsNothing checks that a call can be collected while its answer, which may be
// cached for a long time, is still in use.
func answerKeepsNothing(t *testing.T, host *Host, b backend.Backend) {
	host.Answer("one two three")
	ask := func() (*backend.Answer, weak.Pointer[[64]byte]) {
		ofCall := new([64]byte)
		got, err := b.Generate(t.Context(), &backend.GenerateRequest{Model: Tiny, Prompt: "hello"},
			func(backend.Piece) { ofCall[0]++ })
		if err != nil {
			t.Fatal(err)
		}
		return got, weak.Make(ofCall)
	}
	got, ofCall := ask()
	synctest.Wait()
	runtime.GC()
	if ofCall.Value() != nil {
		t.Error("what the call used is still in memory")
	}
	runtime.KeepAlive(got)
}

func chatKeepsPartsApart(t *testing.T, host *Host, b backend.Backend) {
	call := backend.ToolCall{Function: backend.ToolCallFunction{Name: "weather", Arguments: json.RawMessage(`{"city":"Bern","id":1234567890123456789}`)}}
	host.AnswerWith(func(Call) Reply {
		return Reply{Thinking: "let me see", Text: "asking now", ToolCalls: []backend.ToolCall{call}}
	})
	var text, thinking strings.Builder
	got, err := b.Chat(t.Context(), &backend.ChatRequest{Model: Tiny, Messages: []backend.Message{{Role: "user", Content: "weather?"}}},
		func(p backend.Piece) {
			text.WriteString(p.Text)
			thinking.WriteString(p.Thinking)
		})
	if err != nil {
		t.Fatal(err)
	}
	if got.Text != "asking now" || text.String() != got.Text {
		t.Errorf("got text %q, in pieces %q", got.Text, text.String())
	}
	if got.Thinking != "let me see" || thinking.String() != got.Thinking {
		t.Errorf("got thoughts %q, in pieces %q", got.Thinking, thinking.String())
	}
	if len(got.ToolCalls) != 1 || string(got.ToolCalls[0].Function.Arguments) != string(call.Function.Arguments) {
		t.Errorf("got tool calls %+v", got.ToolCalls)
	}
}

func requestArrivesAsMade(t *testing.T, host *Host, b backend.Backend) {
	req := &backend.GenerateRequest{
		Model: Tiny, Prompt: "p", System: "s", Format: json.RawMessage(`{"type":"object"}`), Stream: new(false),
		Options: map[string]any{"num_ctx": 2048, "temperature": 0}, KeepAlive: &api.Duration{Duration: time.Hour}, Truncate: new(false),
	}
	if _, err := b.Generate(t.Context(), req, nil); err != nil {
		t.Fatal(err)
	}
	if *req.Stream {
		t.Error("the caller's request was changed")
	}
	calls := host.Calls()
	if len(calls) != 1 {
		t.Fatalf("got %d calls, want 1", len(calls))
	}
	sent := calls[0].Generate
	if sent.Stream != nil && !*sent.Stream {
		t.Error("the host was not asked for a stream")
	}
	sent.Stream = req.Stream
	want, _ := json.Marshal(req)
	if got, _ := json.Marshal(sent); string(got) != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func vectorsInOrder(t *testing.T, _ *Host, b backend.Backend) {
	inputs := []string{"a red fox", "an old dog", "a red fox"}
	got, err := b.Embed(t.Context(), &backend.EmbedRequest{Model: Tiny, Input: inputs, Dimensions: 8})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Embeddings) != 3 {
		t.Fatalf("got %d vectors, want 3", len(got.Embeddings))
	}
	for i, text := range inputs {
		if want := embed(text, 64, 8); !slices.Equal(got.Embeddings[i], want) {
			t.Errorf("input %d: got %v, want %v", i, got.Embeddings[i], want)
		}
	}
}

func modelsAreTold(t *testing.T, host *Host, b backend.Backend) {
	host.Install(Model{Name: "big"})
	if models, err := b.Models(t.Context()); err != nil || len(models) != 2 || models[0].Name != "big:latest" {
		t.Errorf("models: got %+v, %v", models, err)
	}
	if _, err := b.Show(t.Context(), "big:latest"); err != nil {
		t.Errorf("show: %v", err)
	}
	if _, err := b.Show(t.Context(), "none"); !errors.Is(err, backend.ModelMissing) {
		t.Errorf("show of a model that is not there: got %v", err)
	}
	for _, m := range []string{"big", Tiny} {
		host.Remove(m)
	}
	if models, err := b.Models(t.Context()); err != nil || len(models) != 0 {
		t.Errorf("models of an empty host: got %+v, %v", models, err)
	}
}

func runningIsTold(t *testing.T, host *Host, b backend.Backend) {
	host.Version("1.2.3").Install(Model{Name: "big", Family: "qwen3", Context: 32768, Capabilities: []string{"completion"}})
	if v, err := b.Version(t.Context()); v != "1.2.3" || err != nil {
		t.Errorf("version: got %q, %v", v, err)
	}
	if running, err := b.Running(t.Context()); err != nil || len(running) != 0 {
		t.Errorf("running before any call: got %+v, %v", running, err)
	}
	if _, err := b.Generate(t.Context(), &backend.GenerateRequest{Model: "big"}, nil); err != nil {
		t.Fatal(err)
	}
	if running, err := b.Running(t.Context()); err != nil || len(running) != 1 || running[0].ContextLength != 32768 {
		t.Errorf("running after a call: got %+v, %v", running, err)
	}
	info, err := b.Show(t.Context(), "big")
	if err != nil {
		t.Fatal(err)
	}
	if info.ModelInfo["qwen3.context_length"] != 32768.0 || len(info.Capabilities) != 1 {
		t.Errorf("show: got %+v", info)
	}
}

func emptyPromptLoads(t *testing.T, host *Host, b backend.Backend) {
	got, err := generate(t.Context(), b, "")
	if err != nil || got.DoneReason != "load" || got.Text != "" {
		t.Errorf("got %+v, %v", got, err)
	}
	if n := host.Stats().Loads; n != 1 {
		t.Errorf("got %d loads, want 1", n)
	}
}

func callsDoNotMix(t *testing.T, host *Host, b backend.Backend) {
	host.Slots(3)
	const callers, each = 16, 4
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for j := range each {
				want := strings.Repeat(fmt.Sprintf("caller %d call %d ", i, j), 5)
				if got, err := chat(t.Context(), b, want); err != nil || got.Text != want {
					t.Errorf("got %+v, %v; want %q", got, err, want)
				}
			}
		})
	}
	all.Wait()
	if n := host.Stats().Finished; n != callers*each {
		t.Errorf("the host finished %d calls, want %d", n, callers*each)
	}
}

func slowLoadIsWaitedFor(t *testing.T, host *Host, b backend.Backend) {
	host.LoadTime(5 * time.Minute)
	got, err := generate(t.Context(), b, "hello")
	if err != nil || got.Text != "hello" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func timesAreTold(t *testing.T, host *Host, b backend.Backend) {
	host.LoadTime(30 * time.Second).FirstTokenTime(2 * time.Second).TokenTime(100 * time.Millisecond).Answer("one two three")
	got, err := chat(t.Context(), b, "go")
	if err != nil {
		t.Fatal(err)
	}
	if got.FirstPiece != 32100*time.Millisecond || got.Total != 32300*time.Millisecond {
		t.Errorf("got the first piece after %v and the end after %v, want 32.1s and 32.3s", got.FirstPiece, got.Total)
	}
}

func hostTimesAreTold(t *testing.T, host *Host, b backend.Backend) {
	host.LoadTime(30 * time.Second).FirstTokenTime(2 * time.Second).TokenTime(100 * time.Millisecond).Answer("one two three")
	got, err := chat(t.Context(), b, "go")
	if err != nil {
		t.Fatal(err)
	}
	want := [...]time.Duration{30 * time.Second, 2 * time.Second, 300 * time.Millisecond}
	if times := [...]time.Duration{got.Load, got.PromptEval, got.Eval}; times != want {
		t.Errorf("got %v to load, to read and to write, want %v", times, want)
	}
}

func doneEndsCall(t *testing.T, host *Host, b backend.Backend) {
	host.Fail(1, func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		serve(w, r)
		Hang(w, r, serve)
	})
	began := time.Now()
	got, err := generate(t.Context(), b, "hello")
	if err != nil || got.Text != "hello" {
		t.Errorf("got %+v, %v", got, err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("waited %v", took)
	}
}
