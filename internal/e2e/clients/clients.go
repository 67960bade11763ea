// Package clients runs MCP clients written by others, pinned in package.json.
package clients

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"testing"

	"ollama-mcp/internal/e2e"
)

// A Result is the output of a client and its exit status.
type Result struct {
	Stdout, Stderr string
	Exit           int
}

// cannotRun is how node.sh ends when there is no Node or there are no packages.
const cannotRun = 127

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
	err = cmd.Run()
	exit := cmd.ProcessState.ExitCode()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended || exit == cannotRun {
		t.Fatalf("%s: %v\n%s", program, err, &stderr)
	}
	return Result{stdout.String(), stderr.String(), exit}
}

// Command is a JavaScript program, to be started: a file of this folder, one among
// the packages, or a path from the root. It is killed when ctx ends.
func Command(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	script, err := e2e.Path("clients", "node.sh")
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, script, append([]string{program}, args...)...), nil
}

// Install installs the packages if that has not been done, which takes minutes. Programs
// do so themselves, but a test with a time limit calls this before the limit begins.
func Install(t testing.TB) {
	t.Helper()
	script, err := e2e.Path("clients", "node.sh")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}
