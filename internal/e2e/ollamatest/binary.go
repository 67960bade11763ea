package ollamatest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"ollama-mcp/internal/e2e"
)

// A Release is a version of Ollama, by what it is to the tests; ollama.sh has the numbers.
type Release string

const (
	// Usual is the machine's own Ollama, or else the version that go.mod requires. It runs
	// the models itself.
	Usual Release = ""

	// Oldest is the oldest version that is tested. It runs the models itself.
	Oldest Release = "oldest"

	// Newest is the newest version that is tested. Package engine stands in for the program
	// that runs its models.
	Newest Release = "newest"
)

// Binary returns the path of an Ollama server, which ollama.sh finds or builds. The output
// of a build goes to standard error.
func Binary(ctx context.Context, r Release) (string, error) {
	script, err := e2e.Path("ollama.sh")
	if err != nil {
		return "", err
	}
	var args []string
	if r != Usual {
		args = append(args, string(r))
	}
	cmd := exec.CommandContext(ctx, script, args...)
	cmd.Stderr = os.Stderr
	path, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("no Ollama to test with: %s: %w", script, err)
	}
	return strings.TrimSpace(string(path)), nil
}
