package ollamatest_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

func TestServerKeepsItsAddressAndModelsOverARestart(t *testing.T) {
	s := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}})
	before := s.URL()
	say(t, s)

	s.Kill()
	if _, err := http.Get(s.URL()); err == nil {
		t.Fatal("a killed server still answers")
	}

	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.URL() != before {
		t.Errorf("address is now %s, was %s", s.URL(), before)
	}
	say(t, s)
}

func TestClosedServerLeavesNothingBehind(t *testing.T) {
	home := t.TempDir()
	t.Setenv("TMPDIR", home)
	s, err := ollamatest.Launch(t.Context(), ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}})
	if err != nil {
		t.Fatal(err)
	}
	say(t, s) // so that there is a runner
	group := s.ProcessGroup()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	if left, err := os.ReadDir(home); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	awaitEnd(t, group)
}

func TestServersDoNotMeet(t *testing.T) {
	t.Setenv("OLLAMA_HOST", "192.0.2.1:1") // an address that is reserved for documentation
	a := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}})
	b := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Words}})
	for s, want := range map[*ollamatest.Server]tinymodels.Model{a: tinymodels.Says, b: tinymodels.Words} {
		list, err := s.Client().List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Models) != 1 || list.Models[0].Name != want.Name+":latest" {
			t.Errorf("%s has %v, want only %s", s.URL(), list.Models, want.Name)
		}
	}
}

func TestEnvironmentOfTheCallerWins(t *testing.T) {
	s := ollamatest.Start(t, ollamatest.Options{Env: []string{"OLLAMA_NUM_PARALLEL=3"}})
	if !strings.Contains(s.Log(), "OLLAMA_NUM_PARALLEL:3") {
		t.Errorf("the log does not show the setting:\n%s", s.LogTail())
	}
}

func TestServerThatCannotStartIsAnError(t *testing.T) {
	if _, err := ollamatest.Launch(t.Context(), ollamatest.Options{Bin: "/none/ollama"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no program: got %v, want that it does not exist", err)
	}
	if _, err := ollamatest.Launch(t.Context(), ollamatest.Options{Bin: "false"}); err == nil || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("a program that ends: got %v, want that it ended by itself", err)
	}
}

// say makes the server load and use a model.
func say(t *testing.T, s *ollamatest.Server) {
	t.Helper()
	var got api.GenerateResponse
	request := &api.GenerateRequest{Model: tinymodels.Says.Name, Prompt: "hi", Stream: new(false)}
	err := s.Client().Generate(t.Context(), request, func(r api.GenerateResponse) error { got = r; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if got.Response != tinymodels.Says.Answer {
		t.Fatalf("got %q, want %q", got.Response, tinymodels.Says.Answer)
	}
}
