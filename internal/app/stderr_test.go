package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stuck is a writer that blocks until it is released.
type stuck struct {
	release chan struct{}
	mu      sync.Mutex
	strings.Builder
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.release
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Builder.Write(p)
}

func TestLogThatIsNotReadLosesLinesAndSaysHowMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &stuck{release: make(chan struct{})}
		l := &logWriter{to: to}
		const lines, size = 1000, 1024
		for i := range lines {
			fmt.Fprintf(l, "%0*d\n", size-1, i)
			if i == 0 {
				synctest.Wait() // until the line is with the writer, or it would take more at a time of its own
			}
		}
		began := time.Now()
		l.flush()
		if took := time.Since(began); took != time.Second {
			t.Errorf("the end of the program waited for %v, want 1s", took)
		}
		close(to.release)
		synctest.Wait()
		fmt.Fprintln(l, "after that")
		l.flush()
		got := strings.Split(to.String(), "\n")
		kept := 0
		for kept < len(got) && strings.TrimLeft(got[kept], "0") == strings.TrimLeft(fmt.Sprint(kept), "0") && got[kept] != "" {
			kept++
		}
		if kept < maxWaiting/size || kept == lines {
			t.Fatalf("%d lines are kept in order of %d", kept, lines)
		}
		if rest := got[kept:]; len(rest) != 3 || !strings.HasSuffix(rest[0], fmt.Sprint("lines=", lines-kept)) || rest[1] != "after that" {
			t.Errorf("after %d lines: %.100q", kept, rest[:min(len(rest), 5)])
		}
	})
}

// Each call that fails writes a line to stderr, of which a pipe holds some hundreds.
func TestHostThatDoesNotReadStderrGetsAllItsAnswers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // which it takes only if it fails
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "--host=127.0.0.1:1")
	cmd.Env = []string{"BE_OLLAMA_MCP=1", "HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0"}
	stdin, errIn := cmd.StdinPipe()
	stdout, errOut := cmd.StdoutPipe()
	_, errErr := cmd.StderrPipe() // which nobody reads
	if err := errors.Join(errIn, errOut, errErr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(stdout)
	for i := range 1000 {
		fmt.Fprintf(stdin, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"generate","arguments":{"model":"%0100d","prompt":"hi","host":"nowhere"},`+
			`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`+"\n", i, i)
		line, err := answers.ReadString('\n')
		if err != nil || !strings.Contains(line, `"isError":true`) {
			t.Fatalf("answer %d is %q, %v", i+1, line, err)
		}
	}
	stdin.Close()
	_, _ = io.Copy(io.Discard, answers)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
