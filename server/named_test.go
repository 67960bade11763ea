package server_test

import (
	"context"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"
)

// named is a tool that says how its request is called.
func named() mcpserver.ServerTool {
	return says("named", func(_ context.Context, r mcp.CallToolRequest) string {
		return r.Header.Get("X-Request-Id") + " " + r.Header.Get("Traceparent")
	})
}

func TestRequestIsNamedToToolAndClientAlike(t *testing.T) {
	inBubble(t, with(named()), func(t *testing.T, r *remote) {
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
			if got := a.text(); got != id+" "+tt.trace {
				t.Errorf("%q: the tool is told %q", tt.sent, got)
			}
		}
	})
}
