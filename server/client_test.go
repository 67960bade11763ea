package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
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
	served chan error
}

// connect starts a server that runs until hangUp, and is stopped with ctx.
func connect(ctx context.Context, t *testing.T, opts server.Options) *client {
	t.Helper()
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	c := &client{t: t, in: toServer, out: fromServer, lines: make(chan string, 1<<16), served: make(chan error, 1)}
	s := newServer(t, opts)
	go func() {
		c.served <- s.ServeStdio(ctx, in, out)
		out.Close()
	}()
	go func() {
		defer close(c.lines)
		lines := bufio.NewScanner(fromServer)
		for lines.Scan() {
			c.lines <- lines.Text()
		}
	}()
	return c
}

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

func fakeTools() []mcpserver.ServerTool {
	tool := func(name string, handle mcpserver.ToolHandlerFunc) mcpserver.ServerTool {
		return mcpserver.ServerTool{Tool: mcp.NewTool(name, mcp.WithDescription("For tests.")), Handler: handle}
	}
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
		// progress reports so many times before it answers.
		tool("progress", func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			for i := range r.GetInt("reports", 0) {
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
	return mcpserver.ServerTool{
		Tool: mcp.NewTool("own"),
		Handler: func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
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
		},
	}
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

// waiting is a tool that only ends when it is cancelled.
func (c *collector) waiting() mcpserver.ServerTool {
	return mcpserver.ServerTool{
		Tool: mcp.NewTool("wait"),
		Handler: func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			<-ctx.Done()
			c.mu.Lock()
			defer c.mu.Unlock()
			c.causes = append(c.causes, context.Cause(ctx).Error())
			return mcp.NewToolResultError(context.Cause(ctx).Error()), nil
		},
	}
}
