package server_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

func TestNewRefusesWhatCannotBeServed(t *testing.T) {
	done := func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) { return nil, nil }
	read := func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) { return nil, nil }
	tool := func(name string) mcpserver.ServerTool {
		return mcpserver.ServerTool{Tool: mcp.NewTool(name), Handler: done}
	}
	template := func(uri string) mcpserver.ServerResourceTemplate {
		return mcpserver.ServerResourceTemplate{Template: mcp.NewResourceTemplate(uri, "x"), Handler: read}
	}
	badHeader := tool("chat")
	badHeader.Tool.RawInputSchema = []byte(`{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"not a token"}}}`)
	tests := []struct {
		name string
		opts server.Options
		want string // "" if nothing is wrong
	}{
		{"the least", server.Options{Name: "x"}, ""},
		{"tools and templates", server.Options{
			Name: "x", Tools: []mcpserver.ServerTool{tool("chat"), tool("embed")},
			ResourceTemplates: []mcpserver.ServerResourceTemplate{template("a://{id}"), template("b://{id}")},
		}, ""},
		{"no name", server.Options{}, "server: option Name is missing"},
		{"negative size", server.Options{Name: "x", MaxMessage: -1}, "server: option MaxMessage is -1, less than 0"},
		{"negative number", server.Options{Name: "x", MaxInFlight: -1}, "server: option MaxInFlight is -1, less than 0"},
		{"negative time", server.Options{Name: "x", Drain: -time.Second}, "server: option Drain is -1s, less than 0"},
		{"tool without a name", server.Options{Name: "x", Tools: []mcpserver.ServerTool{tool("")}}, "server: tool 0 has no name"},
		{"two tools of a name", server.Options{Name: "x", Tools: []mcpserver.ServerTool{tool("chat"), tool("chat")}}, `server: there are two tools called "chat"`},
		{"tool without a handler", server.Options{Name: "x", Tools: []mcpserver.ServerTool{{Tool: mcp.NewTool("chat")}}}, `server: tool "chat" has no handler`},
		{"tool with a header that cannot be", server.Options{Name: "x", Tools: []mcpserver.ServerTool{badHeader}}, `server: tool "chat": `},
		{"template without a URI", server.Options{Name: "x", ResourceTemplates: []mcpserver.ServerResourceTemplate{{Handler: read}}}, "server: resource template 0 has no URI template"},
		{"two templates of a URI", server.Options{Name: "x", ResourceTemplates: []mcpserver.ServerResourceTemplate{template("a://{id}"), template("a://{id}")}}, `server: there are two resource templates called "a://{id}"`},
		{"template without a handler", server.Options{Name: "x", ResourceTemplates: []mcpserver.ServerResourceTemplate{{Template: mcp.NewResourceTemplate("a://{id}", "x")}}}, `server: resource template "a://{id}" has no handler`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := server.New(tt.opts)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if tt.want == "" && err != nil || !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
