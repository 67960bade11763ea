//go:build !race

package app

import (
	"os/exec"
	"strings"
	"testing"

	"ollama-mcp/internal/config"
)

func TestCompletionAndManualHaveEveryCommandAndOption(t *testing.T) {
	t.Parallel()
	var words []string
	for _, c := range commands {
		words = append(words, c.name)
		for _, o := range c.options() {
			words = append(words, o.Name)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		script, errs, status := program(t, "", nil, "completion", shell)
		if status != ok || errs != "" {
			t.Fatalf("%s: status %d, %s", shell, status, errs)
		}
		for _, word := range append(words, "list-models", "claude-desktop", "revoke") {
			if !strings.Contains(script, word) {
				t.Errorf("%s: %s is missing", shell, word)
			}
		}
	}
	page, _, _ := program(t, "", nil, "manual")
	for _, word := range words {
		if !strings.Contains(page, strings.ReplaceAll(word, "-", `\-`)) {
			t.Errorf("manual: %s is missing", word)
		}
	}
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, ".") && !strings.Contains(".TH .SH .SS .B .BI .br .PP .nf .fi .TP ", strings.Fields(line)[0]+" ") {
			t.Errorf("manual: the line %q is read as a request", line)
		}
	}
	if _, errs, status := program(t, "", nil, "completion", "csh"); status != misuse || !strings.Contains(errs, "fish") {
		t.Errorf("a shell without completion: status %d, %s", status, errs)
	}
}

// TestBashCompletesCommandsToolsAndOptions asks bash itself, which the Makefile needs anyway.
func TestBashCompletesCommandsToolsAndOptions(t *testing.T) {
	t.Parallel()
	script, _, _ := program(t, "", nil, "completion", "bash")
	for line, want := range map[string]string{
		"ollama-mcp doc":                 "doctor",
		"ollama-mcp call list-m":         "list-models",
		"ollama-mcp install wind":        "windsurf",
		"ollama-mcp token rev":           "revoke",
		"ollama-mcp --metrics":           "--metrics-address",
		"ollama-mcp serve --drain":       "--drain-timeout",
		"ollama-mcp call status --log-l": "--log-level",
	} {
		words := strings.Fields(line)
		cmd := exec.CommandContext(t.Context(), "bash", "-c", script+`
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ollama_mcp; echo "${COMPREPLY[*]}"`, "bash")
		cmd.Args = append(cmd.Args, words...)
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %v, %q, want %q", line, err, got, want)
		}
	}
}

func TestTextInTheManualIsNoRequest(t *testing.T) {
	for text, want := range map[string]string{"a-b": `a\-b`, ".x\n'y": "\\&.x\n\\&'y", `a\b`: `a\eb`} {
		if got := roff(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestOptionsHaveTheirLetters(t *testing.T) {
	fs := config.NoFlags()
	new(callOptions).flags(fs)
	for _, o := range config.Options(fs) {
		if (o.Name == "verbose") != (o.Short == "v") {
			t.Errorf("%+v", o)
		}
	}
}
