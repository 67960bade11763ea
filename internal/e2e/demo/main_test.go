package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

func TestDemoUsesTheOllamaThatIsThere(t *testing.T) {
	s := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.JSON, tinymodels.Words}})
	t.Setenv("OLLAMA_HOST", s.URL())

	got := demo(t, `echo "$OLLAMA_HOST:" "$@"`)
	for _, want := range []string{
		"$ ollama-mcp call list-models\n" + s.URL() + ": call list-models\n",
		"$ ollama-mcp call generate model=tiny-json:latest 'prompt=Why is the sky blue?'\n",
		"$ ollama-mcp call embed model=tiny-words:latest 'input=Why is the sky blue?'\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("missing:\n%s\nin:\n%s", want, got)
		}
	}
}

func TestDemoStartsAnOllamaWhereNoneAnswers(t *testing.T) {
	t.Setenv("OLLAMA_HOST", "127.0.0.1:9") // nothing listens there

	got := demo(t, `echo "sent to $OLLAMA_HOST"`)
	if strings.Count(got, "sent to http://127.") != 4 {
		t.Errorf("not every command was sent to an Ollama of the demo's own:\n%s", got)
	}
}

func TestDemoFailsWithTheCommandThatFails(t *testing.T) {
	s := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}})
	t.Setenv("OLLAMA_HOST", s.URL())

	var out strings.Builder
	err := run(t.Context(), &out, program(t, `[ "$2" != chat ]`))
	if err == nil || !strings.HasPrefix(err.Error(), "chat: ") {
		t.Errorf("got %v, want that chat failed", err)
	}
	if !strings.Contains(out.String(), "call embed") {
		t.Errorf("it stopped at the first failure:\n%s", &out)
	}
}

func demo(t *testing.T, script string) string {
	t.Helper()
	var out strings.Builder
	if err := run(t.Context(), &out, program(t, script)); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return out.String()
}

// program stands in for ollama-mcp.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ollama-mcp")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTableIsCroppedBetweenItsLines(t *testing.T) {
	row := strings.Repeat("x", 120)
	table := strings.TrimSpace(strings.Repeat(row+"\n", 10))
	if got := cropped(table); got != table {
		t.Errorf("a short table became\n%s", got)
	}
	if got := cropped(table + "\n" + table + "\n" + row); !strings.HasSuffix(got, row+"\n… (1 more lines)") {
		t.Errorf("a long table became\n%s", got)
	}
	if got := cropped(row + strings.Repeat("é", 300)); !strings.HasSuffix(got, "é… (120 more bytes)") {
		t.Errorf("a long line became\n%s", got)
	}
}
