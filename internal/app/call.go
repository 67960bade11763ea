package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"ollama-mcp/internal/call"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/terminal"
)

// callTool starts the server as an MCP host would, and calls one tool.
func callTool(ctx context.Context, args []string, std Stdio) int {
	var c config.Config
	fs := config.Flags(&c)
	o := call.Options{Stdin: std.In, Stdout: std.Out, Stderr: std.Err, Progress: terminal.Is(std.Err)}
	fs.StringVar(&o.ArgsJSON, "args-json", "", "arguments as a JSON `object`; k=v pairs override it")
	fs.BoolVar(&o.JSON, "json", false, "print the whole result as JSON")
	fs.StringVar(&o.URL, "url", "", "`address` of a running server")
	if done, status := parse(fs, &c, args, std); done {
		return status
	}
	if fs.NArg() > 0 {
		o.Tool, o.Args = fs.Arg(0), fs.Args()[1:]
	}
	if o.URL != "" && !strings.HasPrefix(o.URL, "http://") && !strings.HasPrefix(o.URL, "https://") {
		return complain(std, errors.New("--url: must begin with http:// or https://"))
	}
	o.Key = os.Getenv("OLLAMA_MCP_KEY")
	self, err := os.Executable()
	if err != nil {
		return fail(std, err)
	}
	o.Server = append([]string{self}, config.Given(fs)...)
	if !fs.Changed("log-level") {
		o.Server = append(o.Server, "--log-level=warn") // this command prints failures itself
	}
	if !fs.Changed("timeout") {
		o.Server = append(o.Server, "--timeout=0") // a person can press Ctrl-C
	}
	if !fs.Changed("inline-bytes") {
		o.Server = append(o.Server, fmt.Sprint("--inline-bytes=", math.MaxInt32)) // a resource would be gone with the server
	}
	if !fs.Changed("result-meta") {
		o.Server = append(o.Server, "--result-meta=full") // no model pays for it here
	}
	return call.Run(ctx, o)
}
