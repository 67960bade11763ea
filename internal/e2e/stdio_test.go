package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// lines is the program on stdio, without an SDK: tests write and read its lines.
type lines struct {
	t   *testing.T
	ctx context.Context
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.ReadCloser
	buf *bufio.Reader
}

// startPiped starts a command, and returns what it reads, what it writes, and its standard
// error so far.
func startPiped(t *testing.T, cmd *exec.Cmd) (in io.WriteCloser, out io.ReadCloser, stderr *buffer) {
	t.Helper()
	stderr = new(buffer)
	cmd.Stderr = stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err = cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return in, out, stderr
}

// startLines starts the program for the Ollama at an address, and greets it. env are
// variables besides. It is killed when the time of the test is over.
func startLines(t *testing.T, ollama string, env []string, args ...string) *lines {
	t.Helper()
	ctx := deadline(t)
	cmd := command(ctx, ollama, args...)
	cmd.Env = append(cmd.Env, env...)
	in, out, stderr := startPiped(t, cmd)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's log:\n%s", stderr.tail())
		}
	})
	l := &lines{t: t, ctx: ctx, cmd: cmd, in: in, out: out, buf: bufio.NewReader(out)}
	l.send(hello...)
	return l
}

var hello = []string{
	`{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}`,
	`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
}

// toolCall is the line that calls a tool, and asks for progress.
func toolCall(id int, tool, args string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s,"_meta":{"progressToken":%d}}}`, id, tool, args, id)
}

func (l *lines) send(messages ...string) {
	l.t.Helper()
	for _, m := range messages {
		if _, err := io.WriteString(l.in, m+"\n"); err != nil {
			l.t.Fatal(err)
		}
	}
}

// until reads lines until one has these words.
func (l *lines) until(words string) (line string) {
	l.t.Helper()
	for {
		line, err := l.buf.ReadString('\n')
		if err != nil {
			l.t.Fatalf("no line with %q came: %v", words, err)
		}
		if strings.Contains(line, words) {
			return line
		}
	}
}

func (l *lines) signal(s os.Signal) {
	l.t.Helper()
	if err := l.cmd.Process.Signal(s); err != nil {
		l.t.Fatal(err)
	}
}

// exit waits for the program to end, and returns its status: -1 if a signal ended it.
func (l *lines) exit() int {
	l.t.Helper()
	_ = l.cmd.Wait() // how it ended is in its status
	if l.ctx.Err() != nil {
		l.t.Error("it did not end by itself")
	}
	return l.cmd.ProcessState.ExitCode()
}

func TestPipedLinesAreAllAnsweredThoughTheInputHasEnded(t *testing.T) {
	cmd := command(deadline(t), shared.URL())
	cmd.Stdin = strings.NewReader(strings.Join(append(slices.Clone(hello),
		toolCall(1, "generate", `{"model":"tiny-loops","prompt":"hi","options":{"num_predict":500}}`),
		toolCall(2, "chat", `{"model":"tiny-says","messages":[{"role":"user","content":"hi"}]}`),
		`{"jsonrpc":"2.0","id":3,"method":"tools/list"}`, // the last line has no end
	), "\n"))
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("it ended with %v", err)
	}
	for _, want := range []string{`"id":1,"result"`, `"id":2,"result"`, `"id":3,"result"`, strings.Repeat(" tick tock", 250), tinymodels.Says.Answer} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%.40q is missing in %.2000s", want, out)
		}
	}
}

func TestOllamaStopsWhenTheClientIsGone(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*lines){
		"both pipes closed, as when it died": func(l *lines) { l.in.Close(); l.out.Close() },
		"its end of our output closed":       func(l *lines) { l.out.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			withAndWithoutCache(t, func(t *testing.T, env ...string) {
				ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops}})
				l := startLines(t, ollama.URL(), env)
				// Without progress nothing is written that would show that the client is gone.
				l.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"generate","arguments":{"model":"tiny-loops","prompt":"hi"}}}`)
				awaitModel(t, ollama)
				leave(l)
				eventually(t, "Ollama has stopped", func() bool { return ended(ollama, "/api/generate") == 1 })
				l.exit()
			})
		})
	}
}

func TestOllamaStopsWhenTheClientIsKilled(t *testing.T) {
	t.Parallel()
	ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops}})
	client := talk(t, ollama)
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = client.Wait() // killed
	eventually(t, "Ollama has stopped", func() bool { return ended(ollama, "/api/generate") == 1 })
}

// talk calls tiny-loops with the command call. It returns when the model is loaded.
func talk(t *testing.T, ollama *ollamatest.Server) *exec.Cmd {
	t.Helper()
	cmd := command(deadline(t), ollama.URL(), "call", "generate", "model=tiny-loops", "prompt=hi")
	cmd.Stderr = new(buffer) // no terminal, so no progress
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitModel(t, ollama)
	return cmd
}

// awaitModel returns when a model has been loaded, and so is about to answer.
func awaitModel(t *testing.T, ollama *ollamatest.Server) {
	t.Helper()
	ctx := deadline(t)
	eventually(t, "a model is loaded", func() bool {
		running, err := ollama.Client().ListRunning(ctx)
		return err == nil && len(running.Models) > 0
	})
}

func TestTerminatedServerLetsItsCallsEnd(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops}})
		answers := startGate(t, ollama)
		l := startLines(t, answers.URL, append(env, fullMeta), "--drain-timeout=10m")
		l.send(toolCall(1, "generate", `{"model":"tiny-loops","prompt":"hi","timeout_seconds":600,"options":{"num_predict":600}}`))
		eventually(t, "the call is with Ollama", func() bool { _, _, arrived := answers.counts(); return arrived == 1 })
		l.signal(syscall.SIGTERM)
		// From then on it refuses requests, which shows that the signal has arrived.
		for id := 2; ; id++ {
			l.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/list"}`, id))
			if line := l.until(fmt.Sprintf(`"id":%d`, id)); strings.Contains(line, `"error"`) {
				break
			}
		}
		answers.open()
		if line := l.until(`"id":1,`); !strings.Contains(line, `"tokens_out":600`) {
			t.Errorf("got %.500s, want the whole answer", line)
		}
		if status := l.exit(); status != 0 {
			t.Errorf("exit status %d", status)
		}
	})
}

func TestCallThatOutlastsTheDrainIsAnsweredAsCancelled(t *testing.T) {
	t.Parallel()
	withAndWithoutCache(t, func(t *testing.T, env ...string) {
		ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops}})
		l := startLines(t, ollama.URL(), env, "--drain-timeout=100ms")
		l.send(toolCall(1, "generate", `{"model":"tiny-loops","prompt":"hi"}`))
		l.until(" tokens, ")
		l.signal(syscall.SIGTERM)
		if line := l.until(`"id":1`); !strings.Contains(line, `"code":"cancelled"`) {
			t.Errorf("got %.500s, want the code cancelled", line)
		}
		if status := l.exit(); status != 0 {
			t.Errorf("exit status %d", status)
		}
		eventually(t, "Ollama has stopped", func() bool { return ended(ollama, "/api/generate") == 1 })
	})
}

func TestSecondSignalEndsTheServerAtOnce(t *testing.T) {
	t.Parallel()
	ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops}})
	l := startLines(t, ollama.URL(), nil, "--drain-timeout=10m")
	l.send(toolCall(1, "generate", `{"model":"tiny-loops","prompt":"hi","timeout_seconds":600}`))
	l.until(" tokens, ")
	exited := make(chan int, 1)
	go func() { exited <- l.exit() }()
	// Signals that come together may count as one, so they are sent until it ends.
	eventually(t, "the server has ended", func() bool {
		return errors.Is(l.cmd.Process.Signal(syscall.SIGTERM), os.ErrProcessDone)
	})
	if status := <-exited; status != -1 {
		t.Errorf("exit status %d, want that the signal ended it", status)
	}
	eventually(t, "Ollama has stopped", func() bool { return ended(ollama, "/api/generate") == 1 })
}

func TestToolsAreListedAlikeWithAndWithoutOllama(t *testing.T) {
	list := func(ollama string) string {
		cmd := command(deadline(t), ollama)
		cmd.Stdin = strings.NewReader(strings.Join(append(slices.Clone(hello), `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`), "\n"))
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("with Ollama at %s: %v", ollama, err)
		}
		return string(out)
	}
	with, without := list(shared.URL()), list(nobody)
	if with != without {
		t.Errorf("with:\n%s\nwithout:\n%s", with, without)
	}
	for _, tool := range toolNames {
		if !strings.Contains(without, `"name":"`+tool+`"`) {
			t.Errorf("%s is not listed", tool)
		}
	}
}

// nobody is an address on which nothing listens: the discard port.
const nobody = "http://127.0.0.1:9"
