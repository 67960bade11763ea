package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/internal/e2e/ollamatest"
)

// The limits of a test catch what hangs. They say nothing about how long a test may take, and are
// longer than any does on a slow machine that is busy with other things.
const (
	testLimit = 10 * time.Minute // of a whole test
	waitLimit = 3 * time.Minute  // of one wait; shorter than a generation of tiny-loops that nobody stops
)

// deadline is a context for a whole test, its cleanup included.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	t.Cleanup(cancel)
	return ctx
}

// withAndWithoutCache runs a test twice: with the cache as it is by default, where a call
// runs on a context of its own that equal calls share, and with the cache off. env is
// what to add to the program's environment. Tests of faults, cancels and time limits use
// it, with a prompt of its own for each call, or answers would come from the cache.
func withAndWithoutCache(t *testing.T, test func(t *testing.T, env ...string)) {
	for name, env := range map[string][]string{"cache as by default": nil, "cache off": {"OLLAMA_MCP_CACHE=off"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, env...)
		})
	}
}

var prompts atomic.Int64

// fresh is a prompt that no other call has.
func fresh() string { return fmt.Sprint("prompt ", prompts.Add(1)) }

// longEnough calls try with longer and longer time limits for its calls, until it
// reports that the limit sufficed for the machine to get as far as the test needs.
func longEnough(t *testing.T, try func(limit time.Duration) bool) {
	t.Helper()
	for _, limit := range []time.Duration{3 * time.Second, 10 * time.Second, 40 * time.Second, waitLimit} {
		if try(limit) {
			return
		}
	}
	t.Fatalf("not even a limit of %v was long enough", waitLimit)
}

// command is the program as an MCP host starts it, in an environment with little
// but the address of Ollama.
func command(ctx context.Context, ollama string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "OLLAMA_HOST=" + ollama}
	return cmd
}

// fullMeta has results tell more than they do by default, for tests that look at tokens, times,
// retries or options.
const fullMeta = "OLLAMA_MCP_RESULT_META=full"

// session is the program with a client of the Go SDK connected to it.
type session struct {
	*mcp.ClientSession
	t   *testing.T
	ctx context.Context // ends with the time of the test

	// nil unless the client has started the program itself.
	cmd  *exec.Cmd
	wire *buffer // all messages in both directions

	mu    sync.Mutex // guards the fields below
	calls map[string]*pending
}

// connect starts the program for that Ollama. When the test is over it must end
// in good order as soon as its client leaves. env are variables such as
// "OLLAMA_MCP_SLOTS=1".
func connect(t *testing.T, ollama *ollamatest.Server, env ...string) *session {
	t.Helper()
	ctx := deadline(t)
	cmd := command(ctx, ollama.URL())
	cmd.Env = append(cmd.Env, env...)
	return attach(t, ctx, cmd, "")
}

// attach starts the command as a server on stdio, and connects with a revision of the
// protocol; "" means the latest.
func attach(t *testing.T, ctx context.Context, cmd *exec.Cmd, version string) *session {
	t.Helper()
	var stderr buffer
	cmd.Stderr = &stderr
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's log:\n%s", stderr.tail())
		}
	})
	transport := &mcp.CommandTransport{Command: cmd, TerminateDuration: testLimit} // a signal would hide that it does not end by itself
	wire := new(buffer)
	s := join(t, ctx, &mcp.LoggingTransport{Transport: transport, Writer: wire}, version)
	s.cmd, s.wire = cmd, wire
	return s
}

// join connects a client to a server.
func join(t *testing.T, ctx context.Context, transport mcp.Transport, version string) *session {
	t.Helper()
	s := &session{t: t, ctx: ctx, calls: map[string]*pending{}}
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, &mcp.ClientOptions{
		ProgressNotificationHandler: s.progressed,
	})
	var err error
	s.ClientSession, err = client.Connect(ctx, transport, &mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("the session did not end in good order: %v", err)
		}
	})
	return s
}

// answer is the result of a tool.
type answer struct {
	IsError           bool
	Content           []struct{ Type, Text, URI string }
	StructuredContent map[string]any
	Meta              struct {
		Served   served `json:"ollama-mcp/served"`
		Thinking string `json:"ollama-mcp/thinking"`
	} `json:"_meta"`
}

type served struct {
	Trace           string  `json:"trace_id"`
	Requested       string  `json:"requested_model"`
	Model           string  `json:"model"`
	Host            string  `json:"host"`
	Source          string  `json:"source"`
	TokensIn        int     `json:"tokens_in"`
	TokensOut       int     `json:"tokens_out"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	Queue           int64   `json:"queue_ms"`
	Load            int64   `json:"load_ms"`
	FirstToken      int64   `json:"first_token_ms"`
	Total           int64   `json:"total_ms"`
	DoneReason      string  `json:"done_reason"`
}

func (a answer) code() string {
	code, _ := a.StructuredContent["code"].(string)
	return code
}

// text is the first block.
func (a answer) text() string {
	if len(a.Content) == 0 {
		return ""
	}
	return a.Content[0].Text
}

// rest is the text of all blocks after the first, without the blank line before a note.
func (a answer) rest() string {
	var texts []string
	for _, block := range a.Content[min(1, len(a.Content)):] {
		texts = append(texts, strings.TrimPrefix(block.Text, "\n\n"))
	}
	return strings.Join(texts, "\n")
}

func (s *session) protocol() string { return s.InitializeResult().ProtocolVersion }

func (s *session) tools() (names []string) {
	s.t.Helper()
	for tool, err := range s.Tools(s.ctx, nil) {
		if err != nil {
			s.t.Fatal(err)
		}
		names = append(names, tool.Name)
	}
	return names
}

func (s *session) use(method, params string) (got map[string]any, err error) {
	s.t.Helper()
	switch method {
	case "listResources":
		return used(s, params, s.ListResources)
	case "listResourceTemplates":
		return used(s, params, s.ListResourceTemplates)
	case "readResource":
		return used(s, params, s.ReadResource)
	case "listPrompts":
		return used(s, params, s.ListPrompts)
	case "getPrompt":
		return used(s, params, s.GetPrompt)
	case "complete":
		return used(s, params, s.Complete)
	}
	s.t.Fatalf("the Go SDK has no method %s", method)
	return nil, nil
}

// used calls a method of the SDK with parameters in JSON, and returns the result as it would
// decode from JSON.
func used[P, R any](s *session, params string, method func(context.Context, *P) (*R, error)) (got map[string]any, err error) {
	p := new(P)
	if err := json.Unmarshal([]byte(params), p); err != nil {
		s.t.Fatal(err)
	}
	res, err := method(s.ctx, p)
	if err != nil {
		return nil, err
	}
	convert(s.t, res, &got)
	return got, nil
}

// pending is a call in flight.
type pending struct {
	t        *testing.T
	cancel   context.CancelFunc
	progress chan *mcp.ProgressNotificationParams
	done     chan struct{} // closed when what follows is set
	answer   answer
	err      error
}

// start calls a tool, and asks for progress.
func (s *session) start(tool, args string) *pending {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	p := &pending{t: s.t, cancel: cancel, progress: make(chan *mcp.ProgressNotificationParams, 1000), done: make(chan struct{})}
	s.mu.Lock()
	token := fmt.Sprint("call-", len(s.calls))
	s.calls[token] = p
	s.mu.Unlock()
	params := &mcp.CallToolParams{Name: tool, Arguments: json.RawMessage(args)}
	params.SetProgressToken(token)
	go func() {
		defer close(p.done)
		defer cancel()
		var res *mcp.CallToolResult
		if res, p.err = s.CallTool(ctx, params); p.err == nil {
			p.answer, p.err = read(res)
		}
	}()
	return p
}

func read(res *mcp.CallToolResult) (a answer, err error) {
	raw, err := json.Marshal(res)
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	return a, err
}

func (s *session) progressed(_ context.Context, req *mcp.ProgressNotificationClientRequest) {
	s.mu.Lock()
	p := s.calls[fmt.Sprint(req.Params.ProgressToken)]
	s.mu.Unlock()
	if p == nil {
		s.t.Errorf("progress of a call that was never made: %+v", req.Params)
		return
	}
	p.progress <- req.Params
}

// told are the reports of progress so far that have these words, without waiting for more.
func (p *pending) told(words string) (notes []*mcp.ProgressNotificationParams) {
	for {
		select {
		case note := <-p.progress:
			if strings.Contains(note.Message, words) {
				notes = append(notes, note)
			}
		default:
			return notes
		}
	}
}

// until waits for progress that has these words in its message.
func (p *pending) until(words string) *mcp.ProgressNotificationParams {
	p.t.Helper()
	for {
		select {
		case note := <-p.progress:
			if strings.Contains(note.Message, words) {
				return note
			}
		case <-p.done:
			p.t.Fatalf("the call ended without the progress %q: %+v, %v", words, p.answer, p.err)
		}
	}
}

// result waits for the answer. Any goroutine may.
func (p *pending) result() answer {
	p.t.Helper()
	<-p.done
	if p.err != nil {
		p.t.Error(p.err)
	}
	return p.answer
}

// succeeds calls a tool and wants an answer.
func (s *session) succeeds(tool, args string) answer {
	s.t.Helper()
	a := s.start(tool, args).result()
	if a.IsError {
		s.t.Fatalf("%s %.200s: %s", tool, args, a.text())
	}
	return a
}

// fails calls a tool and wants an error with that code, in one line with these words.
func (s *session) fails(tool, args, code string, words ...string) answer {
	s.t.Helper()
	a := s.start(tool, args).result()
	wantError(s.t, a, code, words...)
	return a
}

// stop cancels a generation and waits until Ollama has stopped. The SDK for Go hangs when
// a session is closed before it has sent the message that cancels a call.
func (s *session) stop(p *pending, ollama *ollamatest.Server) {
	s.t.Helper()
	before := ended(ollama, "/api/generate")
	p.cancel()
	<-p.done
	eventually(s.t, "Ollama has stopped", func() bool { return ended(ollama, "/api/generate") > before })
}

func wantError(t *testing.T, a answer, code string, words ...string) {
	t.Helper()
	if !a.IsError || a.code() != code {
		t.Errorf("got %+v, want the error %s", a, code)
		return
	}
	if strings.Contains(a.text(), "\n") {
		t.Errorf("more than a line: %q", a.text())
	}
	for _, word := range words {
		if !strings.Contains(a.text(), word) {
			t.Errorf("%q is not in %q", word, a.text())
		}
	}
}

// eventually waits for something that happens in another process. It looks less often the longer
// it has waited, since what it looks at may cost the processor time that others need.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for began := time.Now(); !happened(); {
		waited := time.Since(began)
		if waited > waitLimit {
			t.Fatalf("still not so: %s", what)
		}
		time.Sleep(max(5*time.Millisecond, waited/20))
	}
}

// ended counts the finished requests for a path, successful or not, in Ollama's log. A
// request is logged a moment after its answer, so count while one is in flight, and wait for
// more than before: the line of an earlier request may come late.
func ended(s *ollamatest.Server, path string) int {
	return strings.Count(s.Log(), ` "`+path+`"`)
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu    sync.Mutex // guards bytes
	bytes bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.String()
}

// tail is the end, short enough to show with a failure.
func (b *buffer) tail() string {
	text := b.String()
	return text[max(0, len(text)-4096):]
}
