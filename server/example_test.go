package server_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

// A server with one tool serves a client on pipes, as it would on stdin and stdout.
func ExampleServer_ServeStdio() {
	greet := mcpserver.ServerTool{
		Tool: mcp.NewTool("greet", mcp.WithDescription("Greet somebody."), mcp.WithString("name", mcp.Required())),
		Handler: func(_ context.Context, call mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return mcp.NewToolResultText("Hello, " + call.GetString("name", "you") + "!"), nil
		},
	}
	s, err := server.New(server.Options{Name: "greeter", Tools: []mcpserver.ServerTool{greet}})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := strings.NewReader(
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"greet","arguments":{"name":"Ada"}}}` + "\n")
	if err := s.ServeStdio(context.Background(), client, os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output: {"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"Hello, Ada!"}]}}
}
