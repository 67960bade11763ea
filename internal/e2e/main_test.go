package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"ollama-mcp/internal/e2e"
	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// Shared by all tests, which only read them.
var (
	scratch string             // a directory that is removed in the end
	program string             // path of the ollama-mcp to test
	shared  *ollamatest.Server // with every model, and memory to keep all of them loaded
)

// releaseVariable names the release of Ollama that shared is.
const releaseVariable = "OLLAMA_MCP_E2E_RELEASE"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "ollama-mcp-e2e-")
	if err != nil {
		return giveUp(err)
	}
	defer os.RemoveAll(dir)
	scratch = dir
	program = os.Getenv("OLLAMA_MCP_BIN")
	if program == "" {
		program = filepath.Join(dir, "ollama-mcp")
		if err := build(context.Background(), program, "..", ".."); err != nil {
			return giveUp(err)
		}
	}
	shared, err = ollamatest.Launch(context.Background(), ollamatest.Options{
		Release: ollamatest.Release(os.Getenv(releaseVariable)),
		Models:  tinymodels.All,
		Env:     []string{"OLLAMA_MAX_LOADED_MODELS=20"},
	})
	if err != nil {
		return giveUp(err)
	}
	code = m.Run()
	if err := shared.Close(); err != nil {
		return giveUp(err)
	}
	return code
}

func giveUp(err error) (code int) {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// build builds the program in a folder, given relative to the root of this module, with
// the flags of a release.
func build(ctx context.Context, target string, folder ...string) error {
	dir, err := e2e.Path(folder...)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", target, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", dir, err, out)
	}
	return nil
}
