package app

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"ollama-mcp/internal/config"
	"ollama-mcp/internal/netserve"
	"ollama-mcp/internal/terminal"
	"ollama-mcp/server"
)

// serve speaks MCP, on stdio until the client hangs up or over HTTP, until ctx ends. explicit
// says that the command was written out.
func serve(ctx context.Context, explicit bool, args []string, std Stdio) int {
	var c config.Config
	fs := config.Flags(&c)
	version := fs.Bool("version", false, "print the version")
	command := "" // the program as a whole, whose help is short
	if explicit {
		command = "serve"
	}
	if done, status := parse(command, fs, &c, args, std); done {
		return status
	}
	switch {
	case *version:
		fmt.Fprintln(std.Out, versionLine(debug.ReadBuildInfo()))
		return ok
	case fs.NArg() > 0:
		return complain(std, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	}
	log := &logWriter{to: std.Err}
	s, err := newService(c, args, log)
	if err != nil {
		log.flush()
		return complain(std, err)
	}
	defer tuneMemory(s.memory)()
	defer s.processors.Start()()
	defer takeLibraryLog(s.log)()
	life, stop := context.WithCancel(context.Background())
	defer stop()
	if err = s.start(life); err != nil {
		s.engine.Close()
		log.flush()
		return fail(std, err)
	}
	if len(c.Listen) > 0 {
		err = s.serveHTTP(ctx)
	} else {
		err = serveStdio(ctx, s.server, std)
	}
	stop()
	s.wait()
	log.flush()
	if err != nil && !errors.Is(err, server.ErrClientGone) {
		return fail(std, err)
	}
	return ok
}

func (s *service) serveHTTP(ctx context.Context) error {
	listeners, err := s.http.Listen()
	if err != nil {
		return err
	}
	s.noteDashboard(listeners[0].Addr())
	s.tellManager(s.manager.Ready)
	told := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(told)
		s.tellManager(s.manager.Stopping)
	})
	err = s.http.Serve(ctx, listeners...)
	if !cancel() { // with nothing to wait for, Serve may end first
		<-told
	}
	return err
}

// tellManager tells the service manager, if there is one, how the program does.
func (s *service) tellManager(how func() error) {
	if err := how(); err != nil {
		s.log.Warn("the service manager cannot be told", "error", err)
	}
}

func serveStdio(ctx context.Context, srv *server.Server, std Stdio) error {
	if terminal.Is(std.In) {
		fmt.Fprintln(std.Err, "ollama-mcp: speaking MCP on stdin and stdout, for an MCP host to use; `ollama-mcp help` says more")
	}
	ignoreBrokenPipes()
	in, restore := netserve.Pollable(std.In, std.Out, std.Err)
	defer restore()
	return srv.ServeStdio(ctx, in, std.Out)
}
