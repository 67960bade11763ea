package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"ollama-mcp/cache"
	"ollama-mcp/internal/config"
	"ollama-mcp/server"
)

// serve speaks MCP, on stdio until the client hangs up or over HTTP, until ctx ends.
func serve(ctx context.Context, args []string, std Stdio) int {
	var c config.Config
	fs := config.Flags(&c)
	version := fs.Bool("version", false, "print the version")
	if done, status := parse(fs, &c, args, std); done {
		return status
	}
	switch {
	case *version:
		fmt.Fprintln(std.Out, versionLine())
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

func serveStdio(ctx context.Context, srv *server.Server, std Stdio) error {
	if isTerminal(std.In) {
		fmt.Fprintln(std.Err, "ollama-mcp: speaking MCP on stdin and stdout, for an MCP host to use; `ollama-mcp help` says more")
	}
	ignoreBrokenPipes()
	return srv.ServeStdio(ctx, std.In, std.Out)
}
