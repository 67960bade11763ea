package call_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"ollama-mcp/internal/call"
)

// run calls a tool of the fake server. It fails if anything is left running.
func run(t *testing.T, o call.Options) (status int, stdout, stderr string) {
	t.Helper()
	return runInterruptible(t, o, func(func()) {})
}

// runInterruptible is run, and hands over what interrupts it.
func runInterruptible(t *testing.T, o call.Options, arm func(interrupt func())) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if o.Server == nil {
		o.Server = testBinary(t, "fake-server")
	}
	if o.Stdout == nil {
		o.Stdout = &out
	}
	if o.Stderr == nil {
		o.Stderr = &errs
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		arm(interrupt)
		status = call.Run(ctx, o)
	})
	return status, out.String(), errs.String()
}

func testBinary(t *testing.T, role string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self, role}
}

func TestStatusAndOutputSayWhatHappened(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      call.Options
		status int
		stdout string
		stderr string // part of it
	}{
		{
			name: "answer", o: call.Options{Tool: "answer"}, stdout: "The answer.\n",
			stderr: "resource: ollama://embeddings/x (2 vectors)\nnot shown without --json: mcp.ImageContent\nNote: it was cut.\n",
		},
		{
			name: "what served it", o: call.Options{Tool: "answer", Verbose: true}, stdout: "The answer.\n",
			stderr: "llama3.2 on gpu-1: 5 tokens in, 42 out, 21.1/s, 2.1 s\n",
		},
		{
			name: "error of the tool", o: call.Options{Tool: "fail"}, status: 1,
			stdout: "Half an ans\n", stderr: "error: no host available; try again shortly\n",
		},
		{name: "error of the protocol", o: call.Options{Tool: "refuse"}, status: 1, stderr: "a bug\n"},
		{name: "unknown tool", o: call.Options{Tool: "translate"}, status: 2, stderr: "error: tool 'translate' not found"},
		{
			name: "bad value", o: call.Options{Tool: "echo", Args: []string{"count={many"}}, status: 2,
			stderr: "error: argument \"count\": \"{many\" is not of type integer: invalid character 'm' looking for beginning of object key string\n",
		},
		{
			name: "no file", o: call.Options{Tool: "echo", Args: []string{"text=@nowhere.txt"}}, status: 2,
			stderr: "error: argument \"text\": open nowhere.txt: ",
		},
		{
			name: "server ends", o: call.Options{Tool: "crash"}, status: 3,
			stderr: "error: the server ended before it answered: exit status 7\n",
		},
		{
			name: "server ends at once", o: call.Options{Server: testBinary(t, "broken-server")}, status: 3,
			stderr: "broken: no such thing\nerror: the server ended before it answered: exit status 4\n",
		},
		{name: "no server", o: call.Options{Server: []string{"./nowhere"}}, status: 3, stderr: "error: the server cannot be started: "},
		{name: "no command", o: call.Options{Server: []string{}}, status: 3, stderr: "error: no command to start the server\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, stdout, stderr := run(t, c.o)
			if status != c.status || stdout != c.stdout || !strings.Contains(stderr, c.stderr) {
				t.Errorf("got status %d, stdout %q, stderr %q; want %d, %q, and in it %q",
					status, stdout, stderr, c.status, c.stdout, c.stderr)
			}
		})
	}
}

func TestWithoutAToolTheToolsAreListed(t *testing.T) {
	status, stdout, _ := run(t, call.Options{})
	if want := "answer    Does what answer says\ncrash     Does what crash says\n"; status != 0 || !strings.HasPrefix(stdout, want) {
		t.Errorf("got status %d and %q, want 0 and first %q", status, stdout, want)
	}
}

func TestArgumentsReachTheTool(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "a.png")
	if err := os.WriteFile(image, []byte("\x89PNG"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := run(t, call.Options{
		Tool: "echo", Stdin: strings.NewReader("from stdin"),
		Args: []string{"text=-", "images=@" + image}, ArgsJSON: `{"count": 3, "text": "not this"}`,
	})
	want := `{"count":3,"images":["iVBORw=="],"text":"from stdin"}` + "\n"
	if status != 0 || stdout != want {
		t.Errorf("got status %d, %q, %q; want 0 and %q", status, stdout, stderr, want)
	}
}

func TestJSONIsTheWholeResult(t *testing.T) {
	_, stdout, _ := run(t, call.Options{Tool: "answer", JSON: true})
	var got struct {
		Meta              map[string]any `json:"_meta"`
		Content           []any
		StructuredContent json.RawMessage
		IsError           bool
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if got.Meta["ollama-mcp/served"] == nil || len(got.Content) != 4 || !bytes.Contains(got.StructuredContent, []byte("9007199254740993")) {
		t.Errorf("something is missing in %s", stdout)
	}
	status, stdout, _ := run(t, call.Options{Tool: "fail", JSON: true})
	if status != 1 || !strings.Contains(stdout, `"isError": true`) {
		t.Errorf("of a failed call: got status %d and %s", status, stdout)
	}
}

func TestProgressIsShownOnATerminalOnlyAndErased(t *testing.T) {
	_, stdout, stderr := run(t, call.Options{Tool: "progress", Progress: true})
	blank := func(s string) string { return "\r" + strings.Repeat(" ", len(s)) + "\r" }
	want := "queued, 1st of 2" + blank("queued, 1st of 2") + "7 tokens" + blank("7 tokens")
	if stdout != "done\n" || stderr != want {
		t.Errorf("on a terminal: got %q and %q, want done and %q", stdout, stderr, want)
	}
	_, stdout, stderr = run(t, call.Options{Tool: "progress"})
	if stdout != "nobody wants to know\n" || stderr != "" {
		t.Errorf("elsewhere: got %q and %q", stdout, stderr)
	}
}

// onText calls do when a text has been written to it.
type onText struct {
	bytes.Buffer
	text string
	do   func()
}

func (w *onText) Write(p []byte) (int, error) {
	defer func() {
		if strings.Contains(w.String(), w.text) {
			w.do()
		}
	}()
	return w.Buffer.Write(p)
}

func TestInterruptedCallIsCancelledBeforeTheServerEnds(t *testing.T) {
	stderr := &onText{text: "slow: began"}
	status, stdout, _ := runInterruptible(t, call.Options{Tool: "slow", Stderr: stderr}, func(interrupt func()) { stderr.do = interrupt })
	_, after, _ := strings.Cut(stderr.String(), "\n")
	if want := "slow: cancelled\nerror: interrupted\n"; status != 130 || stdout != "" || after != want {
		t.Errorf("got status %d, %q and then %q; want 130, nothing and %q", status, stdout, after, want)
	}
}

func TestInterruptWhileTheServerStartsStopsIt(t *testing.T) {
	status, _, stderr := runInterruptible(t, call.Options{Tool: "echo"}, func(interrupt func()) { interrupt() })
	if status != 130 || stderr != "error: interrupted\n" {
		t.Errorf("got status %d and %q, want 130", status, stderr)
	}
}

func TestInterruptEndsTheWaitForStdin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		stdin, typing := io.Pipe()
		defer typing.Close() // the read goes on until then
		status := call.Run(ctx, call.Options{
			Server: testBinary(t, "fake-server"), Tool: "echo", Args: []string{"text=-"},
			Stdin: onRead{stdin, interrupt}, Stdout: io.Discard, Stderr: io.Discard,
		})
		if status != 130 {
			t.Errorf("got status %d, want 130", status)
		}
	})
}

// onRead calls do when it is read.
type onRead struct {
	io.Reader
	do func()
}

func (r onRead) Read(p []byte) (int, error) {
	r.do()
	return r.Reader.Read(p)
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestAnswerThatCannotBePrintedIsAnError(t *testing.T) {
	status, _, stderr := run(t, call.Options{Tool: "answer", Stdout: fullDisk{}})
	if status != 1 || !strings.Contains(stderr, "error: no space left\n") {
		t.Errorf("got status %d and %q, want 1", status, stderr)
	}
}
