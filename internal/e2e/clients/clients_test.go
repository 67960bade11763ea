package clients_test

import (
	"strings"
	"testing"

	"ollama-mcp/internal/e2e/clients"
)

func TestInspectorIsTheOneThatIsPinned(t *testing.T) {
	got := clients.Inspector(t, "--version")
	if got.Exit != 0 || strings.TrimSpace(got.Stdout) != "2.12.0" {
		t.Errorf("got %+v, want version 2.12.0", got)
	}
}

func TestInspectorSaysThatAServerCannotBeReached(t *testing.T) {
	// Nothing listens on the discard port.
	got := clients.Inspector(t, "http://127.0.0.1:9/mcp", "--transport", "http", "--method", "tools/list")
	if got.Exit != 4 || !strings.Contains(got.Stderr, "error") {
		t.Errorf("got %+v, want exit code 4 and an error", got)
	}
}
