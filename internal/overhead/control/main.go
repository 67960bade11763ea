// Command control is the least that an MCP server on mcp-go can be: one tool,
// generate, that makes one POST on a persistent connection. It queues nothing, checks
// nothing and cannot be cancelled half-way, so that the difference to the product is
// the price of what the product does more.
//
// As it is, it asks for the answer in one JSON object. With the argument "streams" it
// asks for a stream and reads it piece by piece, and reports progress by the clock to
// clients that ask for it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// workers is how many tool calls run at once.
const workers = 64

func main() {
	streams := len(os.Args) > 1 && os.Args[1] == "streams"
	s := server.NewMCPServer("control", "0")
	s.AddTool(mcp.NewTool("generate",
		mcp.WithString("model", mcp.Required()),
		mcp.WithString("prompt", mcp.Required()),
	), generate(os.Getenv("OLLAMA_HOST")+"/api/generate", streams))
	if err := server.ServeStdio(s, server.WithWorkerPoolSize(workers), server.WithQueueSize(1000)); err != nil {
		fmt.Fprintln(os.Stderr, "control:", err)
		os.Exit(1)
	}
}

func generate(url string, streams bool) server.ToolHandlerFunc {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	return func(ctx context.Context, call mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if meta := call.Params.Meta; streams && meta != nil && meta.ProgressToken != nil {
			defer report(ctx, meta.ProgressToken)()
		}
		body, err := json.Marshal(map[string]any{
			"model": call.GetString("model", ""), "prompt": call.GetString("prompt", ""), "stream": streams,
		})
		if err != nil {
			return nil, err
		}
		resp, err := client.Post(url, "application/json", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := read(resp.Body)
		if err != nil {
			return nil, fmt.Errorf("HTTP %d: %w", resp.StatusCode, err)
		}
		return mcp.NewToolResultText(text), nil
	}
}

// When progress is reported: as the product does.
const (
	firstReport = 500 * time.Millisecond
	interval    = 2 * time.Second
)

// report sends progress until the function that it returns is called.
func report(ctx context.Context, token mcp.ProgressToken) (stop func()) {
	s, began := server.ServerFromContext(ctx), time.Now()
	var mu sync.Mutex // guards over and timer, and is held while a message is sent
	var over bool
	var timer *time.Timer
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(firstReport, func() {
		mu.Lock()
		defer mu.Unlock()
		if over {
			return
		}
		took := time.Since(began)
		_ = s.SendNotificationToClient(ctx, "notifications/progress", map[string]any{ // or the client misses it
			"progressToken": token, "progress": took.Seconds(), "message": fmt.Sprintf("waiting for %.0f s", took.Seconds()),
		})
		timer.Reset(interval)
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
		timer.Stop()
	}
}

// read puts the pieces of an answer together, of which there may be one. It reads to the
// end of the body, without which the connection would not be kept.
func read(body io.Reader) (string, error) {
	var text strings.Builder
	dec := json.NewDecoder(body)
	for {
		var piece struct{ Response string }
		switch err := dec.Decode(&piece); err {
		case nil:
			text.WriteString(piece.Response)
		case io.EOF:
			return text.String(), nil
		default:
			return "", err
		}
	}
}
