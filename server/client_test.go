package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

// client is the other end of a server, for tests in a bubble.
type client struct {
	t      *testing.T
	in     io.WriteCloser // to the server
	out    *io.PipeReader // from the server
	lines  chan string    // that came from the server; closed at the end
	stop   context.CancelFunc
	served <-chan error
}

// connect starts a server that runs until hangUp or stop.
func connect(t *testing.T, opts server.Options) *client {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	c := &client{t: t, in: toServer, out: fromServer, lines: make(chan string, 1<<16), stop: stop}
	c.served = startStdio(ctx, t, opts, in, out)
	go func() {
		defer close(c.lines)
		lines := bufio.NewScanner(fromServer)
		for lines.Scan() {
			c.lines <- lines.Text()
		}
	}()
	return c
}

// overStdio runs a test with a server in a bubble, which must end without a trace, and
// with no more to say, when its client hangs up.
func overStdio(t *testing.T, opts server.Options, f func(*testing.T, *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, opts)
		f(t, c)
		if rest, err := c.hangUp(); err != nil || len(rest) > 0 {
			t.Errorf("at the end: %v, %v", rest, err)
		}
	})
}

// startStdio starts a server, which closes a pipe that it writes to when it has ended.
func startStdio(ctx context.Context, t testing.TB, opts server.Options, in io.Reader, out io.Writer) (served <-chan error) {
	t.Helper()
	s, done := newServer(t, opts), make(chan error, 1)
	go func() {
		done <- s.ServeStdio(ctx, in, out)
		if pipe, ok := out.(*io.PipeWriter); ok {
			pipe.Close()
		}
	}()
	return done
}

// logTo is a log that is written to w.
func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func newServer(t testing.TB, opts server.Options) *server.Server {
	t.Helper()
	opts.Name, opts.Version = "test", "1"
	opts.Tools = append(opts.Tools, fakeTools()...)
	s, err := server.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (c *client) send(lines ...string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, strings.Join(lines, "\n")+"\n"); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// initialize shakes hands, so that there may be progress.
func (c *client) initialize() {
	c.t.Helper()
	c.send(initialize)
	if a := c.next(); a.Error != nil {
		c.t.Fatalf("initialize: %s", a.line)
	}
}

// next is the next message from the server.
func (c *client) next() message {
	c.t.Helper()
	line, ok := <-c.lines
	if !ok {
		c.t.Fatal("the server has ended, and sent no more")
	}
	return parse(c.t, line)
}

// hangUp ends what the server reads and returns the rest that it sends, and what
// ServeStdio returned.
func (c *client) hangUp() (rest []message, err error) {
	c.t.Helper()
	c.in.Close()
	for line := range c.lines {
		rest = append(rest, parse(c.t, line))
	}
	return rest, <-c.served
}

// message is any message from the server.
type message struct {
	line   string
	ID     json.RawMessage
	Method string
	Params struct {
		ProgressToken any
		Progress      float64
		Message       string
	}
	Result *struct {
		Content []struct{ Text string }
		IsError bool
	}
	Error *struct {
		Code    int
		Message string
		Data    struct {
			Code      string
			Retryable *bool
		}
	}
}

func parse(t testing.TB, line string) message {
	t.Helper()
	m := message{line: line}
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		t.Fatalf("the server sent %q: %v", line, err)
	}
	return m
}

// want checks that a message answers the request with that id, "" for any, in these words.
func (m message) want(t testing.TB, what, id, text string) {
	t.Helper()
	if id != "" && string(m.ID) != id || m.text() != text {
		t.Errorf("%s got %s, want %q", what, m.line, text)
	}
}

func (m message) text() string {
	if m.Result == nil || len(m.Result.Content) == 0 {
		return ""
	}
	return m.Result.Content[0].Text
}

const initialize = `{"jsonrpc":"2.0","id":"init","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// call is a request to a tool. The id is JSON; it is also the progress token.
func call(id, tool, args string) string {
	return fmt.Sprintf(`{"method":"tools/call","params":{"name":"%s","arguments":%s,"_meta":{"progressToken":%s}},"jsonrpc":"2.0","id":%s}`,
		tool, args, id, id)
}

func cancel(id string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s,"reason":"test"}}`, id)
}

func tool(name string, handle mcpserver.ToolHandlerFunc) mcpserver.ServerTool {
	return mcpserver.ServerTool{Tool: mcp.NewTool(name, mcp.WithDescription("For tests.")), Handler: handle}
}

// says is a tool that cannot fail.
func says(name string, say func(context.Context, mcp.CallToolRequest) string) mcpserver.ServerTool {
	return tool(name, func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText(say(ctx, r)), nil
	})
}

// with are the options of a server that has these tools too.
func with(tools ...mcpserver.ServerTool) server.Options { return server.Options{Tools: tools} }

func fakeTools() []mcpserver.ServerTool {
	return []mcpserver.ServerTool{
		tool("echo", func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return mcp.NewToolResultText(r.GetString("text", "")), nil
		}),
		// sleep answers after so many seconds, or why it could not.
		tool("sleep", func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			select {
			case <-time.After(time.Duration(r.GetFloat("seconds", 0) * float64(time.Second))):
				return mcp.NewToolResultText("slept"), nil
			case <-ctx.Done():
				return mcp.NewToolResultError(context.Cause(ctx).Error()), nil
			}
		}),
		// progress reports so many times before it answers, and at most a hundred times: fuzz tests draw any number.
		tool("progress", func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			for i := range min(r.GetInt("reports", 0), 100) {
				if err := notify(ctx, r, i+1); err != nil {
					return nil, err
				}
			}
			return mcp.NewToolResultText("done"), nil
		}),
		tool("panic", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			panic("the password is hunter2")
		}),
		tool("unwritable", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{StructuredContent: math.NaN()}, nil
		}),
	}
}

// own is a tool that names its owner in each of its reports and in its answer.
func own() mcpserver.ServerTool {
	return tool("own", func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		owner := r.GetString("owner", "")
		for i := range r.GetInt("reports", 0) {
			err := mcpserver.ServerFromContext(ctx).SendNotificationToClient(ctx, "notifications/progress",
				map[string]any{"progressToken": r.Params.Meta.ProgressToken, "progress": i + 1, "message": owner})
			if err != nil {
				return nil, err
			}
			runtime.Gosched()
		}
		return mcp.NewToolResultText(owner), nil
	})
}

// notify reports progress as tools do.
func notify(ctx context.Context, r mcp.CallToolRequest, progress int) error {
	if r.Params.Meta == nil {
		return errors.New("no progress token")
	}
	return mcpserver.ServerFromContext(ctx).SendNotificationToClient(ctx, "notifications/progress",
		map[string]any{"progressToken": r.Params.Meta.ProgressToken, "progress": progress})
}

// collector remembers why the calls of a tool ended.
type collector struct {
	mu     sync.Mutex
	causes []string
}

// add remembers why something ended.
func (c *collector) add(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.causes = append(c.causes, fmt.Sprint(err))
}

// gone is how the cause begins when the client has left.
var gone = server.ErrClientGone.Error()

// want checks that as many calls have ended, and that the words for why begin like that.
func (c *collector) want(t testing.TB, causes ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.EqualFunc(c.causes, causes, strings.HasPrefix) {
		t.Errorf("requests ended with %q, want %q", c.causes, causes)
	}
}

// waiting is a tool that only ends when it is cancelled.
func (c *collector) waiting() mcpserver.ServerTool {
	return tool("wait", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		<-ctx.Done()
		c.add(context.Cause(ctx))
		return mcp.NewToolResultError(context.Cause(ctx).Error()), nil
	})
}
