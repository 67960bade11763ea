package ollamatest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"ollama-mcp/internal/e2e"
)

// Binary returns the path of an Ollama server: the machine's own, or one that ollama.sh has
// built. The output of a build goes to standard error.
func Binary(ctx context.Context) (string, error) {
	script, err := e2e.Path("ollama.sh")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, script)
	cmd.Stderr = os.Stderr
	path, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("no Ollama to test with: %s: %w", script, err)
	}
	return strings.TrimSpace(string(path)), nil
}
