// Package clients runs MCP clients written by others, pinned in package.json.
package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ollama-mcp/internal/e2e"
)

// A Result is the output of a client and its exit status.
type Result struct {
	Stdout, Stderr string
	Exit           int
}

// Inspector runs the MCP Inspector's command line with the arguments that follow
// its --cli, such as a program to start or the address of a server, and a method.
//
// It ends with 0 when all is well, 1 on wrong usage, 3 when not let in, 4 when
// it cannot reach the server, 5 on a tool's error and 6 on a broken rule of --strict.
func Inspector(t testing.TB, args ...string) Result {
	t.Helper()
	return Node(t, "@modelcontextprotocol/inspector/clients/launcher/build/index.js", append([]string{"--cli"}, args...)...)
}

// Node runs a JavaScript program, which Command describes, to its end. That a
// program fails is part of the result; that it cannot be run fails the test.
func Node(t testing.TB, program string, args ...string) Result {
	t.Helper()
	cmd, err := Command(t.Context(), program, args...)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	if err = cmd.Run(); err != nil {
		if _, ended := errors.AsType[*exec.ExitError](err); !ended {
			t.Fatalf("%s: %v", program, err)
		}
	}
	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// Command is a JavaScript program, to be started: a file of this folder, one among
// the packages, or a path from the root. It is killed when ctx ends.
func Command(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	found, err := install()
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(program) {
		own := filepath.Join(found.folder, program)
		if _, err := os.Stat(own); err != nil {
			own = filepath.Join(found.folder, "node_modules", program)
		}
		program = own
	}
	return exec.CommandContext(ctx, found.node, append([]string{"--require", filepath.Join(found.folder, "compiled.cjs"), program}, args...)...), nil
}

// Install installs the packages if that has not been done, which takes minutes. Programs
// do so themselves, but a test with a time limit calls this before the limit begins.
func Install(t testing.TB) {
	t.Helper()
	if _, err := install(); err != nil {
		t.Fatal(err)
	}
}

// installation is where the packages are, in this folder, and the Node that runs them.
type installation struct{ folder, node string }

// install installs the packages. What it finds stays there while this process runs.
var install = sync.OnceValues(func() (found installation, err error) {
	if found.folder, err = e2e.Path("clients"); err != nil {
		return found, err
	}
	var stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(found.folder, "node.sh"))
	cmd.Stderr = &stderr
	path, err := cmd.Output()
	if err != nil {
		return found, fmt.Errorf("%s: %w\n%s", cmd.Path, err, &stderr)
	}
	found.node = strings.TrimSpace(string(path))
	return found, nil
})
