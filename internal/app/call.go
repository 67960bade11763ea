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

// callOptions are those that only the command call has.
type callOptions struct {
	argsJSON, url       string
	json, verbose, help bool
}

func (o *callOptions) flags(fs *config.FlagSet) {
	fs.StringVar(&o.argsJSON, "args-json", "", "arguments as a JSON `object`; k=v pairs override it")
	fs.BoolVar(&o.json, "json", false, "print the whole result as JSON")
	fs.StringVar(&o.url, "url", "", "`address` of a running server to call, such as http://127.0.0.1:8383/mcp; $OLLAMA_MCP_KEY is the key, if it requires one")
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "say what served the call and how fast, and print the model's thoughts, on stderr")
}

// callTool starts the server as an MCP host would, and calls one tool.
func callTool(ctx context.Context, args []string, std Stdio) int {
	var c config.Config
	var own callOptions
	fs := config.Flags(&c)
	own.flags(fs)
	err := config.Parse(fs, &c, args, os.Getenv)
	switch {
	case errors.Is(err, config.ErrHelp) && fs.NArg() == 0:
		helpFor(std.Out, "call")
		return ok
	case errors.Is(err, config.ErrHelp):
		own.help = true
	case err != nil:
		return complain(std, err)
	}
	o := call.Options{
		Stdin: std.In, Stdout: std.Out, Stderr: std.Err, URL: own.url, ArgsJSON: own.argsJSON, JSON: own.json, Help: own.help,
		Progress: terminal.Is(std.Err), Verbose: own.verbose || terminal.Is(std.Err),
		Person: terminal.Is(std.Out), Style: terminal.StyleOf(std.Out, os.Getenv),
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
