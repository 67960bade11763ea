package server

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"
)

// TestTextsOfTheLibraryAreThoseThatWeKnow asks mcp-go itself: a release that words its
// errors in another way fails here, and not in what clients are told.
func TestTextsOfTheLibraryAreThoseThatWeKnow(t *testing.T) {
	lib := mcpserver.NewMCPServer("library", "", mcpserver.WithToolCapabilities(false), mcpserver.WithResourceCapabilities(false, false))
	lib.AddResourceTemplate(mcp.NewResourceTemplate("x://{id}", "template"), func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
		return nil, mcpserver.ErrResourceNotFound
	})
	lib.AddTool(mcp.NewTool("fails"), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return nil, errors.New("went wrong")
	})
	answer := func(method, params string) mcp.JSONRPCErrorDetails {
		t.Helper()
		got := lib.HandleMessage(t.Context(), json.RawMessage(`{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":`+params+`}`))
		failed, ok := got.(mcp.JSONRPCError)
		if !ok {
			t.Fatalf("%s with %s got %v, want an error", method, params, got)
		}
		return failed.Error
	}
	for _, tt := range []struct {
		what, method, params string
		code                 int
		begins, contains     string
	}{
		{"a value of the wrong type", "tools/call", `{"name":5}`, mcp.INVALID_REQUEST, textUnparsable, ""},
		{"an unknown tool", "tools/call", `{"name":"none"}`, mcp.INVALID_PARAMS, "", ""},
		{"a tool that fails", "tools/call", `{"name":"fails"}`, mcp.INTERNAL_ERROR, "", "went wrong"},
		{"an unknown resource", "resources/read", `{"uri":"y://1"}`, mcp.RESOURCE_NOT_FOUND, textNoHandler, mcpserver.ErrResourceNotFound.Error()},
		{"a resource that a template does not find", "resources/read", `{"uri":"x://1"}`, mcp.INTERNAL_ERROR, "", mcpserver.ErrResourceNotFound.Error()},
	} {
		e := answer(tt.method, tt.params)
		if e.Code != tt.code || !strings.HasPrefix(e.Message, tt.begins) || !strings.Contains(e.Message, tt.contains) {
			t.Errorf("%s: mcp-go answers %d %q, want %d %q… with %q", tt.what, e.Code, e.Message, tt.code, tt.begins, tt.contains)
		}
	}
	if got := lib.HandleMessage(t.Context(), json.RawMessage(`{"jsonrpc":"2.0","id":1`)).(mcp.JSONRPCError); got.Error.Code != mcp.PARSE_ERROR {
		t.Errorf("no JSON: mcp-go answers %d", got.Error.Code)
	}
}
