package tools

import (
	"net/http"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
)

func TestTraceIsThatOfTheTraceparentOrTheRequest(t *testing.T) {
	const (
		id     = "4bf92f3577b34da6a3ce929d0e0e4736"
		parent = "00-" + id + "-00f067aa0ba902b7-01"
	)
	for _, tt := range []struct{ header, meta, request, want string }{
		{parent, "", "r-1", id},
		{"", parent, "r-1", id},
		{"cc-" + id + "-00f067aa0ba902b7-01-more", "", "", id},
		{"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "", "r-1", "r-1"},
		{"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "", "r-1", "r-1"},
		{"00-4bf92f3577b34da6\nce929d0e0e47366-00f067aa0ba902b7-01", "", "r-1", "r-1"},
		{"00-4bf9", "", "r-1", "r-1"},
	} {
		req := mcp.CallToolRequest{Header: http.Header{"X-Request-Id": {tt.request}}}
		if tt.header != "" {
			req.Header.Set("Traceparent", tt.header)
		}
		req.Params.Meta = &mcp.Meta{AdditionalFields: map[string]any{"traceparent": tt.meta}}
		if got := traceOf(req); got != tt.want {
			t.Errorf("%+v: got %q", tt, got)
		}
	}
}

func TestCallWithoutATraceGetsANewOne(t *testing.T) {
	one, other := traceOf(mcp.CallToolRequest{}), traceOf(mcp.CallToolRequest{})
	if len(one) != 16 || one == other {
		t.Errorf("got %q and %q", one, other)
	}
}
