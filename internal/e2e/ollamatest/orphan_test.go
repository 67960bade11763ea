package ollamatest_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/procgroup"
	"ollama-mcp/internal/e2e/tinymodels"
)

// A test program that is run with this variable set is the helper of
// TestServerEndsWithTheProgramThatStartedIt.
const helperVariable = "OLLAMATEST_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		if err := startAndWait(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// startAndWait starts a server with a runner, prints its process group, and waits to be
// killed.
func startAndWait(ctx context.Context) error {
	s, err := ollamatest.Launch(ctx, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says}})
	if err != nil {
		return err
	}
	request := &api.GenerateRequest{Model: tinymodels.Says.Name, Prompt: "hi"}
	if err := s.Client().Generate(ctx, request, func(api.GenerateResponse) error { return nil }); err != nil {
		return err
	}
	fmt.Println(s.ProcessGroup())
	time.Sleep(time.Hour)
	return s.Close()
}

func TestServerEndsWithTheProgramThatStartedIt(t *testing.T) {
	helper := exec.Command(os.Args[0])
	helper.Env = append(os.Environ(), helperVariable+"=1", "TMPDIR="+t.TempDir())
	helper.Stderr = os.Stderr
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	var group int
	if _, err := fmt.Fscanln(bufio.NewReader(out), &group); err != nil {
		t.Fatal(err)
	}
	if running, err := procgroup.Members(group); err != nil || len(running) < 2 {
		t.Fatalf("processes %v run (%v), want the server and a runner", running, err)
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait() // killed
	awaitEnd(t, group)
}

// awaitEnd waits until no process of a group is left. The limit only catches a hang.
func awaitEnd(t *testing.T, group int) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		left, err := procgroup.Members(group)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("processes %v are still there", left)
		}
	}
}
