package server_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

// named is a tool that says how its request is called.
func named() mcpserver.ServerTool {
	return mcpserver.ServerTool{
		Tool: mcp.NewTool("named"),
		Handler: func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return mcp.NewToolResultText(r.Header.Get("X-Request-Id") + " " + r.Header.Get("Traceparent")), nil
		},
	}
}

func TestRequestIsNamedToToolAndClientAlike(t *testing.T) {
	inBubble(t, server.Options{Tools: []mcpserver.ServerTool{named()}}, server.HTTPOptions{}, func(t *testing.T, r *remote) {
		for _, tt := range []struct {
			sent  string
			kept  bool
			trace string
		}{
			{"b7c1:42/a", true, ""},
			{"b7c1", true, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
			{"", false, ""},
			{`a"b`, false, ""},
			{"a b", false, ""},
			{strings.Repeat("x", 129), false, ""},
		} {
			h := append(modernHeader("tools/call", "named"), "X-Request-Id", tt.sent, "Traceparent", tt.trace)
			a := r.post(modern(call("1", "named", "{}")), h...)
			id := a.Header.Get("X-Request-Id")
			if id == "" || (id == tt.sent) != tt.kept {
				t.Errorf("%q: the client is told %q", tt.sent, id)
			}
			if got := a.messages(t)[0].text(); got != id+" "+tt.trace {
				t.Errorf("%q: the tool is told %q", tt.sent, got)
			}
		}
	})
}

func TestRequestThatIsRefusedIsNamedInTheLog(t *testing.T) {
	var log strings.Builder
	inBubble(t, server.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, aliceAndBob(), func(t *testing.T, r *remote) {
		r.post(initialize, "X-Request-Id", "b7c1", "Authorization", "Bearer nobody")
	})
	if !strings.Contains(log.String(), "request=b7c1") {
		t.Errorf("the log says %s", &log)
	}
}
