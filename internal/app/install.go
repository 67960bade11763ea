package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ollama-mcp/internal/config"
	"ollama-mcp/internal/install"
)

// installOptions are the options of the command install, before a -- and the options of the
// server.
type installOptions struct {
	scope, name   string
	remove, print bool
}

func (o *installOptions) flags(fs *config.FlagSet) {
	fs.BoolVar(&o.print, "print", false, "print what to add, and where, and change nothing")
	fs.BoolVar(&o.remove, "remove", false, "remove the server from the settings")
	fs.StringVar(&o.scope, "scope", "user", "`settings` to change: those of the user, or of the project in this directory")
	fs.StringVar(&o.name, "name", "ollama", "`name` of the server in the settings")
}

// installServer writes this program into the settings of MCP hosts.
func installServer(args []string, std Stdio) int {
	var o installOptions
	fs := config.NoFlags()
	o.flags(fs)
	err := fs.Parse(args)
	if errors.Is(err, config.ErrHelp) {
		helpFor(std.Out, "install")
		return ok
	}
	if err != nil {
		return complain(std, err)
	}
	hosts, serverArgs := fs.Args(), []string(nil)
	if n := fs.ArgsLenAtDash(); n >= 0 {
		hosts, serverArgs = hosts[:n], hosts[n:]
	}
	if o.scope != "user" && o.scope != "project" {
		return complain(std, fmt.Errorf("--scope: must be user or project, not %q", o.scope))
	}
	entry, err := entryOf(o.name, serverArgs, std)
	if err != nil {
		return complain(std, err)
	}
	places, err := install.Here()
	if err != nil {
		return fail(std, err)
	}
	err = install.Run(install.Options{
		Entry: entry, Hosts: hosts, Project: o.scope == "project", Remove: o.remove, Print: o.print,
		Places: places, Out: std.Out,
	})
	if err != nil {
		return fail(std, err)
	}
	return ok
}

// entryOf returns how hosts are to start this program. Hosts do not pass on the environment
// of this shell, so the entry does, except for secrets.
func entryOf(name string, args []string, std Stdio) (install.Entry, error) {
	e := install.Entry{Name: name, Args: args}
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" || len(name) > 32 {
		return e, fmt.Errorf("--name: %q must be 1 to 32 letters, digits, _ and -, since it becomes a part of the tools' names", name)
	}
	var err error
	if e.Command, err = os.Executable(); err != nil {
		return e, err
	}
	if strings.Contains(filepath.ToSlash(e.Command), "/go-build") {
		return e, errors.New("this program is a temporary one of `go run`; build it or install it first")
	}
	var c config.Config
	flags := config.Flags(&c)
	if err := config.Parse(flags, &c, args, os.Getenv); err != nil {
		return e, fmt.Errorf("the server would not start: %w", err)
	}
	if len(c.Listen) > 0 {
		return e, errors.New("hosts start the server on stdin and stdout, so --listen cannot be used")
	}
	if relative := config.RelativePaths(flags); len(relative) > 0 {
		return e, fmt.Errorf("--%s is a relative path, and hosts start programs in a directory of their own; use an absolute one", relative[0])
	}
	e.Env = config.SetInEnvironment(flags, os.Getenv)
	if os.Getenv("OLLAMA_API_KEY") != "" {
		fmt.Fprintln(std.Err, "OLLAMA_API_KEY is set in this shell, and is not written into settings because it is a secret; if the Ollama server needs it, add it to the entry's environment")
	}
	return e, nil
}
