package tinymodels_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/types/model"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// server has every model, and room to keep them all loaded.
var server *ollamatest.Server

func TestMain(m *testing.M) {
	var err error
	server, err = ollamatest.Launch(context.Background(), ollamatest.Options{
		Models: tinymodels.All,
		Env:    []string{"OLLAMA_MAX_LOADED_MODELS=20"},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func TestModelsAnswerWhatTheyDeclare(t *testing.T) {
	for _, m := range tinymodels.All {
		if m.Answer == "" {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			said := chat(t, &api.ChatRequest{Model: m.Name, Messages: user("hi")})
			if said.Message.Content != m.Answer || said.Message.Thinking != m.Thought || said.DoneReason != "stop" {
				t.Errorf("chat: got %q after thinking %q (%s), want %q after %q (stop)",
					said.Message.Content, said.Message.Thinking, said.DoneReason, m.Answer, m.Thought)
			}
			wrote := generate(t, &api.GenerateRequest{Model: m.Name, Prompt: "hi"})
			if wrote.Response != m.Answer || wrote.Thinking != m.Thought || wrote.DoneReason != "stop" {
				t.Errorf("generate: got %q after thinking %q (%s), want %q after %q (stop)",
					wrote.Response, wrote.Thinking, wrote.DoneReason, m.Answer, m.Thought)
			}
			raw := generate(t, &api.GenerateRequest{Model: m.Name, Prompt: "hi", Raw: true})
			if raw.Response != m.Answer {
				t.Errorf("generate with a raw prompt: got %q, want %q", raw.Response, m.Answer)
			}
		})
	}
}

func TestModelsCanDoWhatTheirCommentsSay(t *testing.T) {
	for _, test := range []struct {
		model tinymodels.Model
		want  []model.Capability
	}{
		{tinymodels.Says, []model.Capability{"completion"}},
		{tinymodels.Loops, []model.Capability{"completion"}},
		{tinymodels.Stutters, []model.Capability{"completion"}},
		{tinymodels.JSON, []model.Capability{"completion"}},
		{tinymodels.ToolCall, []model.Capability{"completion", "tools"}},
		{tinymodels.Thinks, []model.Capability{"completion", "thinking"}},
		{tinymodels.ThinksForever, []model.Capability{"completion", "thinking"}},
		{tinymodels.Fills, []model.Capability{"completion", "insert"}},
		{tinymodels.Words, []model.Capability{"embedding"}},
	} {
		t.Run(test.model.Name, func(t *testing.T) {
			got, err := server.Client().Show(t.Context(), &api.ShowRequest{Model: test.model.Name})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Capabilities, test.want) {
				t.Errorf("got %v, want %v", got.Capabilities, test.want)
			}
		})
	}
}

func TestAnswerDoesNotDependOnTemperatureOrSeed(t *testing.T) {
	for seed := range 5 {
		got := generate(t, &api.GenerateRequest{
			Model:   tinymodels.Says.Name,
			Prompt:  "hi",
			Options: map[string]any{"temperature": 2, "seed": seed},
		})
		if got.Response != tinymodels.Says.Answer {
			t.Errorf("seed %d: got %q, want %q", seed, got.Response, tinymodels.Says.Answer)
		}
	}
}

func TestPromptCountsItsBytesAndMarkers(t *testing.T) {
	got := generate(t, &api.GenerateRequest{Model: tinymodels.Says.Name, Prompt: "hello"})
	if want := len("hello") + len([]string{"<|user|>", "<|end|>", "<|assistant|>"}); got.PromptEvalCount != want {
		t.Errorf("got %d tokens, want %d", got.PromptEvalCount, want)
	}
}

func TestLoopsEndsOnlyAtItsLimit(t *testing.T) {
	const limit = 300
	got := generate(t, &api.GenerateRequest{
		Model:   tinymodels.Loops.Name,
		Prompt:  "hi",
		Options: map[string]any{"num_predict": limit},
	})
	if got.EvalCount != limit || got.DoneReason != "length" {
		t.Errorf("got %d tokens (%s), want %d (length)", got.EvalCount, got.DoneReason, limit)
	}
}

func TestLoopsStopsWhenItsCallerLeaves(t *testing.T) {
	before := endedGenerates()
	errEnough := errors.New("enough")
	err := server.Client().Generate(t.Context(), &api.GenerateRequest{Model: tinymodels.Loops.Name, Prompt: "hi"},
		func(api.GenerateResponse) error { return errEnough })
	if !errors.Is(err, errEnough) {
		t.Fatalf("got %v, want %v", err, errEnough)
	}
	// Left alone it would go on for ten times its context, which takes far longer.
	for deadline := time.Now().Add(3 * time.Minute); endedGenerates() == before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server is still generating")
		}
	}
}

// endedGenerates counts the lines that the server logs when such a call is over.
func endedGenerates() int {
	return strings.Count(server.Log(), `POST     "/api/generate"`)
}

func TestStuttersEndsWithoutDone(t *testing.T) {
	got := generate(t, &api.GenerateRequest{Model: tinymodels.Stutters.Name, Prompt: "hi"})
	if got.Done || !strings.HasPrefix(got.Response, " no no no") {
		t.Errorf("got %q, done %v; want \" no no no…\" and not done", got.Response, got.Done)
	}
}

func TestFormatGivesJSONThatFits(t *testing.T) {
	const (
		answer = `{"type":"object","properties":{"answer":{"type":"integer"}},"required":["answer"]}`
		person = `{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"},"tags":{"type":"array","items":{"type":"string"}},"size":{"enum":["small","large"]}},"required":["name","age","tags","size"]}`
	)
	for _, test := range []struct {
		name   string
		model  tinymodels.Model
		format string
		want   string
	}{
		{"its own schema", tinymodels.JSON, answer, `{"answer":42}`},
		{"any JSON", tinymodels.JSON, `"json"`, `{"answer":42}`},
		{"another schema", tinymodels.JSON, person, `{"name":"","age":0,"tags":[""],"size":"large"}`},
		{"a model of prose", tinymodels.Fills, person, `{"name":"return a + b","age":0,"tags":["return a + b"],"size":"large"}`},
		{"after a thought", tinymodels.Thinks, answer, `{"answer":0}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := chat(t, &api.ChatRequest{Model: test.model.Name, Messages: user("hi"), Format: json.RawMessage(test.format)})
			var compact bytes.Buffer
			if err := json.Compact(&compact, []byte(got.Message.Content)); err != nil || compact.String() != test.want || got.DoneReason != "stop" {
				t.Errorf("got %q (%s, %v), want %s", got.Message.Content, got.DoneReason, err, test.want)
			}
			if got.Message.Thinking != test.model.Thought {
				t.Errorf("thought %q, want %q", got.Message.Thinking, test.model.Thought)
			}
		})
	}
}

func TestToolCallIsMadeAndItsResultAnswered(t *testing.T) {
	tools := api.Tools{{Type: "function", Function: api.ToolFunction{
		Name:       "get_weather",
		Parameters: api.ToolFunctionParameters{Type: "object", Properties: api.NewToolPropertiesMap()},
	}}}
	asked := chat(t, &api.ChatRequest{Model: tinymodels.ToolCall.Name, Messages: user("how is the weather?"), Tools: tools})
	if calls := asked.Message.ToolCalls; len(calls) != 1 || calls[0].Function.Name != "get_weather" || calls[0].Function.Arguments.String() != `{"city":"Oslo"}` {
		t.Fatalf("got calls %v and text %q, want get_weather for Oslo", asked.Message.ToolCalls, asked.Message.Content)
	}

	conversation := append(user("how is the weather?"), asked.Message, api.Message{Role: "tool", ToolName: "get_weather", Content: "sunny"})
	told := chat(t, &api.ChatRequest{Model: tinymodels.ToolCall.Name, Messages: conversation, Tools: tools})
	if told.Message.Content != tinymodels.ToolCall.Answer || len(told.Message.ToolCalls) > 0 {
		t.Errorf("got %q and calls %v, want %q", told.Message.Content, told.Message.ToolCalls, tinymodels.ToolCall.Answer)
	}
}

func TestThinksAnswersAtOnceWhenAskedNotToThink(t *testing.T) {
	got := chat(t, &api.ChatRequest{Model: tinymodels.Thinks.Name, Messages: user("hi"), Think: &api.ThinkValue{Value: false}})
	if got.Message.Content != tinymodels.Thinks.Answer || got.Message.Thinking != "" {
		t.Errorf("got %q after thinking %q, want %q after nothing", got.Message.Content, got.Message.Thinking, tinymodels.Thinks.Answer)
	}
}

func TestThoughtCutShortLeavesNoAnswer(t *testing.T) {
	for _, m := range []tinymodels.Model{tinymodels.Thinks, tinymodels.ThinksForever} {
		got := chat(t, &api.ChatRequest{Model: m.Name, Messages: user("hi"), Options: map[string]any{"num_predict": 4}})
		if got.Message.Content != "" || got.Message.Thinking == "" || got.DoneReason != "length" {
			t.Errorf("%s: got %q after thinking %q (%s), want only a thought (length)",
				m.Name, got.Message.Content, got.Message.Thinking, got.DoneReason)
		}
	}
}

func TestFillsTakesASuffix(t *testing.T) {
	got := generate(t, &api.GenerateRequest{Model: tinymodels.Fills.Name, Prompt: "def add(a, b):\n    ", Suffix: "\n"})
	if got.Response != tinymodels.Fills.Answer {
		t.Errorf("got %q, want %q", got.Response, tinymodels.Fills.Answer)
	}
}

func user(text string) []api.Message {
	return []api.Message{{Role: "user", Content: text}}
}

// chat and generate ask for whole answers, in one piece.

func chat(t *testing.T, request *api.ChatRequest) (got api.ChatResponse) {
	t.Helper()
	request.Stream = new(false)
	err := server.Client().Chat(t.Context(), request, func(r api.ChatResponse) error { got = r; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func generate(t *testing.T, request *api.GenerateRequest) (got api.GenerateResponse) {
	t.Helper()
	request.Stream = new(false)
	err := server.Client().Generate(t.Context(), request, func(r api.GenerateResponse) error { got = r; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return got
}
