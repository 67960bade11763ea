package app

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"ollama-mcp/internal/config"
)

// columns is how wide help is.
const columns = 100

// command is what help says of a command.
type command struct {
	name, args string
	line       string // what it does, in one line
	examples   []string
	text       string                 // anything else; may be empty
	flags      func() *config.FlagSet // its own options; nil for none
	server     bool                   // it takes the options of the server too
}

// commands are all commands, in the order of help. The server is the one without a name.
var commands = []command{
	{
		name: "serve", args: "[OPTION …]", line: "serve MCP on stdin and stdout, as MCP hosts start it, or over HTTP; the default",
		examples: []string{
			"ollama-mcp                                                serve on stdin and stdout",
			"ollama-mcp --host 10.0.0.5:11434 --host 10.0.0.6:11434    two Ollama servers",
			"ollama-mcp --listen 127.0.0.1:8383                        serve HTTP, at http://127.0.0.1:8383/mcp",
			"ollama-mcp --config ollama-mcp.yaml                       options, aliases, keys and more from a file",
		},
		text: "Each option is also an environment variable, --log-level is OLLAMA_MCP_LOG_LEVEL, and a key of the\nfile that --config names. OLLAMA_HOST and OLLAMA_API_KEY are honoured too.\n",
	},
	{
		name: "install", args: "[HOST …] [-- OPTION …]", line: "write the server into the settings of MCP hosts, such as cursor",
		examples: []string{
			"ollama-mcp install                                 into every host that is found",
			"ollama-mcp install claude-desktop vscode           into these",
			"ollama-mcp install cursor --print                  only show what to add, and where",
			"ollama-mcp install codex -- --host gpu:11434       with options of the server",
			"ollama-mcp install --remove                        out of them again",
		},
		flags: own(new(installOptions).flags),
	},
	{
		name: "call", args: "[TOOL] [KEY=VALUE …]", line: "call one tool as a client would; without a tool, list them",
		examples: []string{
			"ollama-mcp call                                                              list the tools",
			"ollama-mcp call generate --help                                              arguments of a tool",
			`ollama-mcp call generate model=llama3.2 prompt="Why is the sky blue?"`,
			"ollama-mcp call generate model=llama3.2 prompt=@letter.txt options.num_ctx=8192",
			"ollama-mcp call list-models",
			"ollama-mcp call status --url http://127.0.0.1:8383/mcp                       of a running server",
		},
		text:   "The value @FILE stands for the contents of a file, - for standard input, and @@x for \"@x\". A dot in\na key leads into an object. Exit status: 0 the tool answered, 1 it failed, 2 the command was wrong,\n3 there was no server to call, 130 interrupted.\n",
		flags:  own(new(callOptions).flags),
		server: true,
	},
	{
		name: "doctor", line: "say what is wrong, and what to do about it",
		examples: []string{
			"ollama-mcp doctor",
			"ollama-mcp doctor --config ollama-mcp.yaml --json",
		},
		text:   "Exit status: 0 all can be used, 1 something that is configured cannot, 2 the configuration cannot be\nread. Warnings alone are no failure.\n",
		flags:  own(new(doctorOptions).flags),
		server: true,
	},
	{
		name: "bench", line: "put load on the hosts, and say how they perform",
		examples: []string{
			"ollama-mcp bench                                        1 to 16 callers, ten seconds each",
			"ollama-mcp bench --model llama3.2 --svg plot.svg",
			"ollama-mcp bench --embed --callers 1,4 --calls 100 --json",
		},
		flags:  own(new(benchOptions).flags),
		server: true,
	},
	{
		name: "usage", line: "show tokens, calls and time by day, key and model, as --state-dir has them",
		examples: []string{
			"ollama-mcp usage --state-dir /var/lib/ollama-mcp",
			"ollama-mcp usage --state-dir /var/lib/ollama-mcp --days 1 --json",
		},
		text:   "Servers write their counts every ten seconds.\n",
		flags:  own(new(usageOptions).flags),
		server: true,
	},
	{
		name: "calls", args: "FILE …", line: "sum up call logs: percentiles per model and host, the slowest and the failed calls",
		examples: []string{
			"ollama-mcp calls calls.jsonl",
			"ollama-mcp calls --since 24h --top 20 calls-*.jsonl calls.jsonl",
			"zcat calls.jsonl.1.gz | ollama-mcp calls --json -",
		},
		text:  "FILE is a file of --call-log, and - stands for standard input.\n",
		flags: own(new(callsOptions).flags),
	},
	{
		name: "alerts", args: "test [NAME]", line: "send a test to the webhooks of the configuration file, or to one of them",
		examples: []string{
			"ollama-mcp alerts test --config /etc/ollama-mcp/config.yaml",
			"ollama-mcp alerts test ops --config config.yaml",
		},
		server: true,
	},
	{
		name: "token", args: "new NAME | list FILE | revoke NAME FILE", line: "make, list and revoke the keys of callers over HTTP",
		examples: []string{
			"ollama-mcp token new ci --append keys.yaml    print a new key once, and add its hash to the file",
			"ollama-mcp token list keys.yaml",
			"ollama-mcp token revoke ci keys.yaml",
		},
		flags: own(new(tokenOptions).flags),
	},
	{
		name: "completion", args: "SHELL", line: "print a script that completes commands and options: bash, zsh, fish or powershell",
		examples: []string{
			"source <(ollama-mcp completion bash)                                       in ~/.bashrc",
			"ollama-mcp completion zsh > \"${fpath[1]}/_ollama-mcp\"",
			"ollama-mcp completion fish > ~/.config/fish/completions/ollama-mcp.fish",
			"ollama-mcp completion powershell >> $PROFILE",
		},
	},
	{name: "manual", line: "print the manual page, for man -l -"},
	{name: "version", line: "print the version, its commit and date"},
	{name: "help", args: "[COMMAND]", line: "print this, or the help of a command"},
}

// own returns what makes the set of the options that only one command has.
func own(declare func(*config.FlagSet)) func() *config.FlagSet {
	return func() *config.FlagSet {
		fs := config.NoFlags()
		declare(fs)
		return fs
	}
}

// commandNames are the names of all commands, in the order of help.
func commandNames() []string {
	all := make([]string, len(commands))
	for i, c := range commands {
		all[i] = c.name
	}
	return all
}

// help prints what there is.
func help(w io.Writer) {
	fmt.Fprint(w, `ollama-mcp lets MCP hosts and agents use the models of an Ollama server as tools.

Examples:
  ollama-mcp install                        attach it to the MCP hosts on this machine
  ollama-mcp doctor                         is all as it should be?
  ollama-mcp call generate model=llama3.2 prompt="Why is the sky blue?"
  ollama-mcp --listen 127.0.0.1:8383        serve MCP over HTTP

Commands:
`)
	for _, c := range commands {
		fmt.Fprintf(w, "  %-11s %s\n", c.name, c.line)
	}
	fmt.Fprint(w, `
ollama-mcp COMMAND --help has examples and options of a command, ollama-mcp serve --help the options of
the server, and ollama-mcp call TOOL --help the arguments of a tool.
`)
}

// helpFor prints the help of a command; that of the program if there is no such command.
func helpFor(w io.Writer, name string) {
	for _, c := range commands {
		if c.name == name && len(c.examples) > 0 {
			c.help(w)
			return
		}
	}
	help(w)
}

func (c command) help(w io.Writer) {
	fmt.Fprintf(w, "ollama-mcp %s: %s\n\n", strings.TrimSpace(c.name+" "+c.args), c.line)
	fmt.Fprintf(w, "Examples:\n  %s\n", strings.Join(c.examples, "\n  "))
	if c.text != "" {
		fmt.Fprintf(w, "\n%s", c.text)
	}
	if c.flags != nil {
		fmt.Fprintf(w, "\nOptions:\n%s", c.flags().FlagUsagesWrapped(columns))
	}
	switch {
	case c.server:
		fmt.Fprint(w, "\nThe options of the server can be given too, such as --host and --config: see ollama-mcp serve --help.\n")
	case c.name == "serve":
		fmt.Fprint(w, config.Usages(columns))
	}
}

// release is the version, commit and date of a release, separated by blanks; "" for other
// builds. The build sets it, by its name.
var release string

// version is the version of the release, or of the module as the build recorded it.
func version() string { return versionOf(debug.ReadBuildInfo()) }

func versionOf(info *debug.BuildInfo, known bool) string {
	if parts := strings.Fields(release); len(parts) > 0 {
		return parts[0]
	}
	if !known || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// versionLine says what was built, with what, for what, and from which commit of which date.
func versionLine(info *debug.BuildInfo, known bool) string {
	line := fmt.Sprintf("ollama-mcp %s %s %s/%s", versionOf(info, known), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	var commit, date string
	if parts := strings.Fields(release); len(parts) == 3 {
		commit, date = parts[1], parts[2]
	} else if known {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				commit = s.Value
			case "vcs.time":
				date = s.Value
			}
		}
	}
	return strings.TrimRight(fmt.Sprintf("%s %s %s", line, commit[:min(12, len(commit))], date), " ")
}
