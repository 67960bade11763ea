package ollamatest_test

import (
	"strings"
	"testing"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/e2e/engine"
	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

func TestNewestOllamaSaysWhatTheModelsWould(t *testing.T) {
	s := ollamatest.Start(t, ollamatest.Options{Release: ollamatest.Newest, Models: []tinymodels.Model{tinymodels.Says}})
	say(t, s)
}

func TestScriptDecidesHowTheEngineOfTheNewestOllamaEnds(t *testing.T) {
	s := ollamatest.Start(t, ollamatest.Options{Release: ollamatest.Newest, Models: []tinymodels.Model{tinymodels.Says}})
	if err := s.Script(engine.Script{AtStart: true, Stderr: "cudaMalloc failed: out of memory"}); err != nil {
		t.Fatal(err)
	}
	request := &api.GenerateRequest{Model: tinymodels.Says.Name, Prompt: "hi"}
	err := s.Client().Generate(t.Context(), request, func(api.GenerateResponse) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "cudaMalloc failed: out of memory") {
		t.Errorf("got %v, want that there is no memory", err)
	}
	if err := s.Script(engine.Script{}); err != nil {
		t.Fatal(err)
	}
	say(t, s)
}

func TestOllamaWithAnEngineOfItsOwnTakesNoScript(t *testing.T) {
	s := ollamatest.Start(t, ollamatest.Options{Release: ollamatest.Oldest})
	if err := s.Script(engine.Script{}); err == nil {
		t.Error("it has taken one")
	}
}
