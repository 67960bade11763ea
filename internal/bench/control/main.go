// Command control is the least that an MCP server on mcp-go can be: one tool,
// generate, that makes one post on a connection kept open. It queues nothing,
// checks nothing and cannot be cancelled half-way; what the product costs more
// than this is the price of what the product does more.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// workers is how many tool calls run at once.
const workers = 64

func main() {
	s := server.NewMCPServer("control", "0")
	s.AddTool(mcp.NewTool("generate",
		mcp.WithString("model", mcp.Required()),
		mcp.WithString("prompt", mcp.Required()),
	), generate(os.Getenv("OLLAMA_HOST")+"/api/generate"))
	if err := server.ServeStdio(s, server.WithWorkerPoolSize(workers), server.WithQueueSize(1000)); err != nil {
		fmt.Fprintln(os.Stderr, "control:", err)
		os.Exit(1)
	}
}

func generate(url string) server.ToolHandlerFunc {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	return func(_ context.Context, call mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		body, err := json.Marshal(map[string]any{
			"model": call.GetString("model", ""), "prompt": call.GetString("prompt", ""), "stream": false,
		})
		if err != nil {
			return nil, err
		}
		resp, err := client.Post(url, "application/json", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		var answer struct{ Response string }
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			return nil, fmt.Errorf("HTTP %d: %w", resp.StatusCode, err)
		}
		return mcp.NewToolResultText(answer.Response), nil
	}
}
