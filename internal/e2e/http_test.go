package e2e_test

import (
	"context"
	"os/exec"
	"regexp"
	"syscall"
	"testing"

	"ollama-mcp/internal/e2e/procgroup"
)

// listening is an HTTP server, such as the program.
type listening struct {
	t      *testing.T
	addr   string // host:port
	cmd    *exec.Cmd
	stderr buffer
}

var address = regexp.MustCompile(`msg=listening .*address=(\S+)`)

// listen starts the program at an address, with the shared Ollama. It has no time limit: tests in
// parallel that use it may have to wait for their turn.
func listen(t *testing.T, addr string) *listening {
	t.Helper()
	return serve(t, command(context.Background(), shared.URL(), "--listen", addr))
}

// serve starts a command that serves HTTP. When the test is over and its clients
// have left it must end in good order.
func serve(t *testing.T, cmd *exec.Cmd) *listening {
	t.Helper()
	l := &listening{t: t, cmd: cmd}
	l.cmd.Stderr = &l.stderr
	group, err := procgroup.Start(l.cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.stop()
		group.Kill()
		if t.Failed() {
			t.Logf("the server's log:\n%s", l.stderr.tail())
		}
	})
	eventually(t, "the server listens", func() bool {
		found := address.FindStringSubmatch(l.stderr.String())
		if found != nil {
			l.addr = found[1]
		}
		return found != nil
	})
	return l
}

func (l *listening) url() string { return "http://" + l.addr }

// stop has the program end, if it has not yet, and waits for that.
func (l *listening) stop() {
	l.t.Helper()
	if l.cmd.ProcessState != nil {
		return
	}
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		l.t.Error(err)
	}
	if err := l.cmd.Wait(); err != nil {
		l.t.Errorf("the server did not end in good order: %v", err)
	}
}

// The clients count their requests alike.
func TestClientThatCancelsDoesNotTouchTheRequestOfAnotherWithTheSameID(t *testing.T) {
	for _, w := range ways(t) {
		if w.alone {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			one, other := w.connect(t), w.connect(t)
			cancelled := one.start("generate", `{"model":"tiny-loops","prompt":"one"}`)
			left := other.start("generate", `{"model":"tiny-loops","prompt":"other"}`)
			cancelled.until(" tokens, ")
			left.until(" tokens, ")
			before := ended(shared, "/api/generate")
			cancelled.cancel()
			if <-cancelled.done; cancelled.err == nil {
				t.Errorf("the one: got %.300s, want that it was cancelled", cancelled.answer.text())
			}
			eventually(t, "Ollama has stopped", func() bool { return ended(shared, "/api/generate") > before })
			left.until(" tokens, ") // it goes on
			left.cancel()
			<-left.done
			eventually(t, "Ollama has stopped the other too", func() bool { return ended(shared, "/api/generate") > before+1 })
			other.tools() // SDKs complain if the cancellation is still on its way when they close
		})
	}
}
