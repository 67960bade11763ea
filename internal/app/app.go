// Package app is the program: its commands, and the server that the parts make when they
// are put together.
//
// It is the only package that knows all the others. What each part promises is said where
// the part lives; this package decides which parts a command needs, how the options of
// package config reach them, what a changed configuration changes, and the order in which
// everything starts and ends.
package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"ollama-mcp/internal/config"
	"ollama-mcp/internal/nearest"
)

// Stdio is the three standard files of a process. All are needed.
type Stdio struct{ In, Out, Err *os.File }

// Exit statuses of all commands but call, which has those of call.Run.
const (
	ok      = 0
	failure = 1
	misuse  = 2
)

// Run runs the command that args name, or the server if they name none, and returns the
// exit status of the process. When ctx ends, Run ends in good order.
func Run(ctx context.Context, args []string, std Stdio) (status int) {
	command := "serve"
	explicit := len(args) > 0 && !strings.HasPrefix(args[0], "-")
	if explicit {
		command, args = args[0], args[1:]
	}
	if len(args) > 0 && command == "help" {
		if args[0] == "call" && len(args) > 1 {
			return callTool(ctx, append(args[1:], "--help"), std)
		}
		helpFor(std.Out, args[0])
		return ok
	}
	switch command {
	case "serve":
		return serve(ctx, explicit, args, std)
	case "call":
		return callTool(ctx, args, std)
	case "doctor":
		return examine(ctx, args, std)
	case "bench":
		return bench(ctx, args, std)
	case "install":
		return installServer(args, std)
	case "usage":
		return showUsage(args, std)
	case "calls":
		return sumUpCalls(args, std)
	case "token":
		return tokens(args, std)
	case "alerts":
		return testAlerts(ctx, args, std)
	case "completion":
		return complete(args, std)
	case "manual":
		manual(std.Out)
		return ok
	case "version":
		fmt.Fprintln(std.Out, versionLine(debug.ReadBuildInfo()))
		return ok
	case "help":
		help(std.Out)
		return ok
	}
	names := commandNames()
	known := "known are " + strings.Join(names, ", ")
	if near := nearest.Names(command, names, 1); near != nil {
		known = fmt.Sprintf("did you mean %s? %s", near[0], known)
	}
	return complain(std, fmt.Errorf("unknown command %q; %s", command, known))
}

// parse reads the options of a command. done means that the command has ended already, with
// that status.
func parse(command string, fs *config.FlagSet, c *config.Config, args []string, std Stdio) (done bool, status int) {
	err := config.Parse(fs, c, args, os.Getenv)
	switch {
	case errors.Is(err, config.ErrHelp):
		helpFor(std.Out, command)
		return true, ok
	case err != nil:
		return true, complain(std, err)
	}
	c.Warnings = append(c.Warnings, config.Misspelled(fs, os.Environ())...)
	return false, ok
}

// complain reports a mistake in the command or the configuration.
func complain(std Stdio, err error) int {
	fmt.Fprintf(std.Err, "ollama-mcp: %v\nTry `ollama-mcp help`.\n", err)
	return misuse
}

func fail(std Stdio, err error) int {
	fmt.Fprintf(std.Err, "ollama-mcp: %v\n", err)
	return failure
}
