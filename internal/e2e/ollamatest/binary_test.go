package ollamatest_test

import (
	"os"
	"path/filepath"
	"testing"

	"ollama-mcp/internal/e2e/ollamatest"
)

func TestBinaryIsTheOneAskedForThenTheMachinesOwn(t *testing.T) {
	asked, own := program(t, "asked"), program(t, "ollama")
	t.Setenv("PATH", filepath.Dir(own)+":"+os.Getenv("PATH"))

	t.Setenv("OLLAMA_BIN", asked)
	expectBinary(t, asked)

	t.Setenv("OLLAMA_BIN", "")
	expectBinary(t, own)
}

func TestBinaryThatIsAskedForButMissingIsAnError(t *testing.T) {
	t.Setenv("OLLAMA_BIN", filepath.Join(t.TempDir(), "none"))
	if got, err := ollamatest.Binary(t.Context(), ollamatest.Usual); err == nil {
		t.Errorf("got %q and no error", got)
	}
}

func expectBinary(t *testing.T, want string) {
	t.Helper()
	got, err := ollamatest.Binary(t.Context(), ollamatest.Usual)
	if err != nil || got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

func program(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
