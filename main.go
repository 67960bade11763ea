// Command ollama-mcp serves language models that run on Ollama to MCP hosts, as
// tools. Without arguments it speaks MCP on stdin and stdout, which is how a host
// starts it; with --listen it does so over HTTP.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/call"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/doctor"
	"ollama-mcp/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// endings are the signals that end the program in good order. Under nohup a hang-up
// does not.
func endings() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

type stdio struct{ in, out, err *os.File }

// Exit statuses beside those of call.Run.
const (
	ok      = 0
	failure = 1
	misuse  = 2
)

// run is the program: a command and its arguments, or the server where no
// command is named.
func run(ctx context.Context, args []string, std stdio) (status int) {
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	switch command {
	case "serve":
		return serve(ctx, args, std)
	case "call":
		return callTool(ctx, args, std)
	case "doctor":
		return examine(ctx, args, std)
	case "bench":
		return bench(ctx, args, std)
	case "token":
		return newToken(args, std)
	case "version":
		fmt.Fprintln(std.out, versionLine())
		return ok
	case "help":
		help(std.out)
		return ok
	}
	return complain(std, fmt.Errorf("unknown command %q; known are call, doctor, bench, token, version and help", command))
}

// serve speaks MCP, on stdio until the client hangs up or over HTTP, until ctx ends.
func serve(ctx context.Context, args []string, std stdio) int {
	var c config.Config
	fs := config.Flags(&c)
	version := fs.Bool("version", false, "print the version")
	if done, status := parse(fs, &c, args, std); done {
		return status
	}
	switch {
	case *version:
		fmt.Fprintln(std.out, versionLine())
		return ok
	case fs.NArg() > 0:
		return complain(std, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	}
	s, err := newService(c, args, std)
	if err != nil {
		return complain(std, err)
	}
	tuneMemory(int64(c.CacheSize) << 20)
	life, stop := context.WithCancel(context.Background())
	s.start(life)
	if len(c.Listen) > 0 {
		err = s.http.ListenAndServe(ctx)
	} else {
		err = serveStdio(ctx, s.server, std)
	}
	stop()
	s.wait()
	if err != nil && !errors.Is(err, server.ErrClientGone) {
		return fail(std, err)
	}
	return ok
}

// tuneMemory has garbage collected less often than Go would, while there is memory left
// that a server with a cache of this size, in bytes, may take: a call leaves little behind,
// and to find that out costs as much as some calls. GOGC and GOMEMLIMIT win over it.
func tuneMemory(cacheSize int64) {
	const percent = 400 // of what is in use; with 100 a call cost a tenth more processor time
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(cache.MemoryLimit(cacheSize))
	}
}

func serveStdio(ctx context.Context, srv *server.Server, std stdio) error {
	if isTerminal(std.in) {
		fmt.Fprintln(std.err, "ollama-mcp: speaking MCP on stdin and stdout, for an MCP host to use; `ollama-mcp help` says more")
	}
	signal.Ignore(syscall.SIGPIPE) // a client that dies is seen by the write that fails
	return srv.ServeStdio(ctx, std.in, std.out)
}

// callTool starts the server as an MCP host would, and calls one tool.
func callTool(ctx context.Context, args []string, std stdio) int {
	var c config.Config
	fs := config.Flags(&c)
	o := call.Options{Stdin: std.in, Stdout: std.out, Stderr: std.err, Progress: isTerminal(std.err)}
	fs.StringVar(&o.ArgsJSON, "args-json", "", "arguments as a JSON `object`; k=v pairs win over it")
	fs.BoolVar(&o.JSON, "json", false, "print the whole result as JSON")
	fs.StringVar(&o.URL, "url", "", "`address` of a server that runs")
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
		o.Server = append(o.Server, "--log-level=warn") // failures are told here
	}
	if !fs.Changed("timeout") {
		o.Server = append(o.Server, "--timeout=0") // nobody gives up here but by Ctrl-C
	}
	if !fs.Changed("inline-bytes") {
		o.Server = append(o.Server, fmt.Sprint("--inline-bytes=", math.MaxInt32)) // resources end with the server
	}
	return call.Run(ctx, o)
}

// examine says what is wrong and what to do.
func examine(ctx context.Context, args []string, std stdio) int {
	var c config.Config
	if done, status := parse(config.Flags(&c), &c, args, std); done {
		return status
	}
	var all []backend.Backend
	for _, spec := range specs(c) {
		spec, _ = spec.Fixed()
		host, err := open(spec, netip.Addr{})
		if err != nil {
			return complain(std, fmt.Errorf("host %s: %w", spec.Name, err))
		}
		defer host.Close()
		all = append(all, host)
	}
	if !doctor.Run(ctx, doctor.Options{Hosts: all, Out: std.out}) {
		return failure
	}
	return ok
}

// parse reads the options of a command. done means that there is no more to do.
func parse(fs *config.FlagSet, c *config.Config, args []string, std stdio) (done bool, status int) {
	err := config.Parse(fs, c, args, os.Getenv)
	switch {
	case errors.Is(err, config.ErrHelp):
		help(std.out)
		return true, ok
	case err != nil:
		return true, complain(std, err)
	}
	return false, ok
}

// complain is for what the user can put right in the command.
func complain(std stdio, err error) int {
	fmt.Fprintf(std.err, "ollama-mcp: %v\nTry `ollama-mcp help`.\n", err)
	return misuse
}

func fail(std stdio, err error) int {
	fmt.Fprintf(std.err, "ollama-mcp: %v\n", err)
	return failure
}

const usage = `ollama-mcp lets MCP hosts and agents use the models of an Ollama server as tools.

  ollama-mcp                     serve MCP on stdin and stdout; this is what a host starts
  ollama-mcp --listen ADDRESS    serve MCP over HTTP, at /mcp and for older clients at /sse
  ollama-mcp call                list the tools
  ollama-mcp call TOOL [k=v …]   call one tool as a client would; k=@FILE and k=- read the value
  ollama-mcp doctor              say what is wrong and what to do
  ollama-mcp bench               load the hosts, and print what they do
  ollama-mcp token new NAME      make a key for a caller over HTTP
  ollama-mcp version | help

Options, each also an environment variable (--log-level is OLLAMA_MCP_LOG_LEVEL):
%s
Options of call:
      --args-json object     arguments as a JSON object; k=v pairs win over it
      --json                 print the whole result as JSON
      --url address          call a server that runs, such as http://127.0.0.1:8383/mcp;
                             $OLLAMA_MCP_KEY is the caller's key, if it wants one

Options of bench:
%s`

func help(w io.Writer) {
	var own config.FlagSet
	own.SortFlags = false
	new(benchOptions).flags(&own)
	fmt.Fprintf(w, usage, config.Flags(new(config.Config)).FlagUsagesWrapped(100), own.FlagUsagesWrapped(100))
}

// version is that of the module, as the build recorded it.
func version() string {
	info, known := debug.ReadBuildInfo()
	if !known || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

func versionLine() string {
	line := fmt.Sprintf("ollama-mcp %s %s %s/%s", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			line += " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return line
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
