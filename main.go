// Command ollama-mcp serves language models that run on Ollama to MCP hosts, as
// tools. Without arguments it speaks MCP on stdin and stdout, which is how a host
// starts it; with --listen it does so over HTTP.
package main

import (
	"context"
	"os"

	"ollama-mcp/internal/app"
)

func main() {
	ctx := app.WithSignals(context.Background())
	os.Exit(app.Run(ctx, os.Args[1:], app.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
