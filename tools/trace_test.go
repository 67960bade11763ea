package tools

import (
	"net/http"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/inference"
)

const (
	oneTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	oneSpan   = "00-" + oneTrace + "-00f067aa0ba902b7-01"
	otherSpan = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)

func TestTraceIsThatOfTheTraceparentOrTheRequest(t *testing.T) {
	for _, tt := range []struct{ header, meta, want, parent, link string }{
		{oneSpan, "", oneTrace, oneSpan, ""},
		{"", oneSpan, oneTrace, oneSpan, ""},
		{otherSpan, oneSpan, oneTrace, oneSpan, otherSpan},
		{oneSpan, "00-4bf9", oneTrace, oneSpan, ""},
		{"00-4bf9", oneSpan, oneTrace, oneSpan, ""},
		{"cc-" + oneTrace + "-00f067aa0ba902b7-01-more", "", oneTrace, "cc-" + oneTrace + "-00f067aa0ba902b7-01-more", ""},
		{"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "", "r-1", "", ""},
		{"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "", "r-1", "", ""},
		{"00-4bf92f3577b34da6\nce929d0e0e47366-00f067aa0ba902b7-01", "", "r-1", "", ""},
		{"00-4bf9", "", "r-1", "", ""},
		{"", "", "r-1", "", ""},
	} {
		req := mcp.CallToolRequest{Header: http.Header{"X-Request-Id": {"r-1"}}}
		if tt.header != "" {
			req.Header.Set("Traceparent", tt.header)
		}
		req.Params.Meta = &mcp.Meta{AdditionalFields: map[string]any{"traceparent": tt.meta}}
		parent, link := tracesOf(req)
		if got := traceOf(parent, req.Header); got != tt.want || parent.Parent != tt.parent || link.Parent != tt.link {
			t.Errorf("%+v: trace %q, parent %q, link %q", tt, got, parent.Parent, link.Parent)
		}
	}
}

func TestCallWithoutATraceGetsANewOne(t *testing.T) {
	one, other := traceOf(inference.TraceContext{}, nil), traceOf(inference.TraceContext{}, nil)
	if len(one) != 16 || one == other {
		t.Errorf("got %q and %q", one, other)
	}
}
