package app

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"ollama-mcp/internal/config"
	"ollama-mcp/internal/install"
	"ollama-mcp/tools"
)

// shells are the writers of completion scripts, by the name of the shell.
var shells = map[string]func(io.Writer){"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion, "powershell": powershellCompletion}

// complete prints a script that completes commands and options.
func complete(args []string, std Stdio) int {
	if len(args) == 1 && shells[args[0]] != nil {
		shells[args[0]](std.Out)
		return ok
	}
	if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
		helpFor(std.Out, "completion")
		return ok
	}
	return complain(std, errors.New("usage: ollama-mcp completion bash, zsh, fish or powershell"))
}

// options are all options of a command.
func (c command) options() (all []config.Option) {
	if c.flags != nil {
		all = config.Options(c.flags())
	}
	if c.server || c.name == "serve" {
		all = append(all, config.Options(config.Flags(new(config.Config)))...)
	}
	return all
}

// words are what may follow a command, beside files.
func (c command) words() (all []string) {
	switch c.name {
	case "call":
		all = tools.Names()
	case "install":
		all = install.Names()
	case "token":
		all = []string{"new", "list", "revoke"}
	case "completion":
		all = []string{"bash", "zsh", "fish", "powershell"}
	case "help":
		all = commandNames()
	}
	for _, o := range c.options() {
		all = append(all, "--"+o.Name)
	}
	return all
}

func bashCompletion(w io.Writer) {
	fmt.Fprint(w, "# bash completion of ollama-mcp\n_ollama_mcp() {\n  local words current=${COMP_WORDS[COMP_CWORD]}\n  case ${COMP_CWORD}:${COMP_WORDS[1]} in\n")
	serve := ""
	for _, c := range commands {
		if c.name == "serve" {
			serve = strings.Join(c.words(), " ")
		}
		fmt.Fprintf(w, "  [!1]*:%s) words='%s' ;;\n", c.name, strings.Join(c.words(), " "))
	}
	fmt.Fprintf(w, "  *) words='%s %s' ;;\n  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n}\ncomplete -o default -F _ollama_mcp ollama-mcp\n", strings.Join(commandNames(), " "), serve)
}

func zshCompletion(w io.Writer) {
	fmt.Fprint(w, "#compdef ollama-mcp\n# zsh completion of ollama-mcp\n_ollama_mcp() {\n  if (( CURRENT == 2 )); then\n    local -a commands=(\n")
	for _, c := range commands {
		fmt.Fprintf(w, "      '%s:%s'\n", c.name, quoted(c.line))
	}
	fmt.Fprint(w, "    )\n    _describe command commands\n    return\n  fi\n  case $words[2] in\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %s) compadd -- %s ;;\n", c.name, strings.Join(c.words(), " "))
	}
	fmt.Fprint(w, "  esac\n  _files\n}\nif [[ $funcstack[1] == _ollama_mcp ]]; then _ollama_mcp \"$@\"; else compdef _ollama_mcp ollama-mcp; fi\n")
}

func fishCompletion(w io.Writer) {
	fmt.Fprint(w, "# fish completion of ollama-mcp\n")
	for _, c := range commands {
		fmt.Fprintf(w, "complete -c ollama-mcp -n __fish_use_subcommand -a %s -d '%s'\n", c.name, quoted(c.line))
		seen := "'__fish_seen_subcommand_from " + c.name + "'"
		for _, word := range c.words() {
			if !strings.HasPrefix(word, "--") {
				fmt.Fprintf(w, "complete -c ollama-mcp -n %s -a %s\n", seen, word)
			}
		}
		for _, o := range c.options() {
			line := fmt.Sprintf("complete -c ollama-mcp -n %s -l %s", seen, o.Name)
			if o.Short != "" {
				line += " -s " + o.Short
			}
			if o.Value != "" {
				line += " -r"
			}
			usage, _, _ := strings.Cut(o.Usage, "\n")
			fmt.Fprintf(w, "%s -d '%s'\n", line, quoted(usage))
		}
	}
}

func powershellCompletion(w io.Writer) {
	fmt.Fprint(w, "# PowerShell completion of ollama-mcp\nRegister-ArgumentCompleter -Native -CommandName ollama-mcp -ScriptBlock {\n  param($word, $line, $position)\n  $words = @{\n")
	for _, c := range commands {
		fmt.Fprintf(w, "    '%s' = '%s'\n", c.name, strings.Join(c.words(), " "))
	}
	fmt.Fprintf(w, "  }\n  $given = @($line.CommandElements | ForEach-Object { $_.ToString() })\n  $known = if ($given.Count -gt 1 -and $words.ContainsKey($given[1]) -and $given[1] -ne $word) { $words[$given[1]] } else { '%s' }\n", strings.Join(commandNames(), " "))
	fmt.Fprint(w, "  $known -split ' ' | Where-Object { $_ -like \"$word*\" } | ForEach-Object { [System.Management.Automation.CompletionResult]::new($_) }\n}\n")
}

// quoted is text between single quotes of any of the shells.
func quoted(text string) string {
	return strings.NewReplacer("'", "’", `\`, `\\`, ":", ";").Replace(text)
}

// manual prints the manual page.
func manual(w io.Writer) {
	fmt.Fprintf(w, ".TH OLLAMA-MCP 1\n.SH NAME\nollama-mcp \\- MCP server for the models of Ollama\n.SH SYNOPSIS\n")
	for _, c := range commands {
		fmt.Fprintf(w, ".B ollama-mcp %s\n%s\n.br\n", roff(c.name), roff(c.args))
	}
	fmt.Fprint(w, ".SH DESCRIPTION\nollama-mcp lets MCP hosts and agents use the models of an Ollama server as tools.\n.SH COMMANDS\n")
	for _, c := range commands {
		fmt.Fprintf(w, ".SS %s\n%s.\n", roff(c.name), roff(c.line))
		if c.text != "" {
			fmt.Fprintf(w, ".PP\n%s\n", roff(c.text))
		}
		if len(c.examples) > 0 {
			fmt.Fprintf(w, ".PP\n.nf\n%s\n.fi\n", roff(strings.Join(c.examples, "\n")))
		}
		if c.flags != nil {
			manualOptions(w, config.Options(c.flags()))
		}
	}
	fmt.Fprint(w, ".SH OPTIONS OF THE SERVER\n")
	manualOptions(w, config.Options(config.Flags(new(config.Config))))
	fmt.Fprint(w, ".SH ENVIRONMENT\n.TP\nOLLAMA_HOST\naddress of the Ollama server, if no option gives one\n.TP\nOLLAMA_API_KEY\nkey that is sent to it\n.TP\nREDIS_PASSWORD\npassword for \\-\\-redis\n.TP\nOLLAMA_MCP_KEY\nkey that call \\-\\-url sends to a server\n.PP\nEach option of the server is a variable too: \\-\\-log\\-level is OLLAMA_MCP_LOG_LEVEL.\n")
}

func manualOptions(w io.Writer, all []config.Option) {
	for _, o := range all {
		fmt.Fprintf(w, ".TP\n.BI \\-\\-%s \" %s\"\n%s\n", roff(o.Name), roff(o.Value), strings.ReplaceAll(roff(o.Usage), "\n", "\n.br\n"))
	}
}

// roff is text without any meaning for roff.
func roff(text string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(strings.TrimSpace(text)), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
