package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/e2e"
	"ollama-mcp/internal/e2e/tinymodels"
)

// The SDKs that hosts are built with start servers with a few variables of the
// user's only.
func TestConfigurationForClaudeDesktopStartsTheServer(t *testing.T) {
	path, err := e2e.Path("..", "..", "examples", "claude-desktop", "claude_desktop_config.json")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Servers map[string]struct {
			Command string
			Args    []string
			Env     map[string]string
		} `json:"mcpServers"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Servers) != 1 {
		t.Fatalf("got %+v, want one server", config.Servers)
	}
	for name, server := range config.Servers {
		if !filepath.IsAbs(server.Command) || filepath.Base(server.Command) != "ollama-mcp" {
			t.Errorf("%s: the command is %q, want the whole path of ollama-mcp: hosts do not search for it", name, server.Command)
		}
		ctx := deadline(t)
		cmd := command(ctx, shared.URL(), server.Args...) // stands in for the Ollama at the usual address
		for key, value := range server.Env {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
		attach(t, ctx, cmd, "2025-11-25").stillAnswers(t)
	}
}

func TestAgentInGoFindsAModelAndIsAnswered(t *testing.T) {
	agent := filepath.Join(t.TempDir(), "go-agent")
	if err := build(t.Context(), agent, "..", "..", "examples", "go-agent"); err != nil {
		t.Fatal(err)
	}
	ctx := deadline(t)
	ask := func(env []string, args ...string) (stdout, stderr string, status int) {
		cmd := exec.CommandContext(ctx, agent, append([]string{"-server", program}, args...)...)
		cmd.Env = env
		return output(t, cmd)
	}
	env := command(ctx, shared.URL()).Env

	stdout, stderr, status := ask(env)
	if status != 0 || stdout != tinymodels.Fills.Answer+"\n" || !strings.Contains(stderr, "served by tiny-fills:latest on "+sharedHost()) {
		t.Errorf("the first model: status %d\n%s%s", status, stdout, stderr)
	}
	stdout, stderr, status = ask(env, "-model", "tiny-says", "Who", "jumps?")
	if status != 0 || stdout != tinymodels.Says.Answer+"\n" {
		t.Errorf("a model by name: status %d\n%s%s", status, stdout, stderr)
	}
	longEnough(t, func(limit time.Duration) bool {
		stdout, stderr, status = ask(append(env, fmt.Sprint("OLLAMA_MCP_TIMEOUT=", limit)), "-model", "tiny-loops")
		if !strings.Contains(stderr, " tokens, ") {
			return false
		}
		if status != 0 || !strings.Contains(stderr, "Note: ") {
			t.Errorf("the note is to be shown: status %d\n%.100s…\n%s", status, stdout, stderr)
		}
		return true
	})
	stdout, stderr, status = ask(command(ctx, nobody).Env)
	if status != 1 || stdout != "" || !strings.Contains(stderr, "ollama serve") {
		t.Errorf("without Ollama: status %d\n%s%s", status, stdout, stderr)
	}
}

func TestAgentMapsOverAFolderWithProgressAndGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	agent := filepath.Join(t.TempDir(), "map-folder")
	if err := build(t.Context(), agent, "..", "..", "examples", "map-folder"); err != nil {
		t.Fatal(err)
	}
	folder, state := t.TempDir(), t.TempDir()
	write := func(i int) {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("note-%03d.txt", i)), []byte(fresh()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		write(i)
	}
	ctx := deadline(t)
	with := func(model string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, agent, "-server", program, "-state-dir", state, "-model", model, "-files", "*.txt", folder, "Sum up: {{input}}")
		cmd.Env = command(ctx, shared.URL(), "").Env
		return cmd
	}
	run := func(model string) (stdout, stderr string, status int) { return output(t, with(model)) }
	// A model that writes without end leaves time for progress, however fast the machine is.
	endless := with("tiny-loops")
	var told buffer
	endless.Stderr = &told
	if err := endless.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "progress is shown", func() bool { return strings.Contains(told.String(), "of 20") })
	if err := endless.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	_ = endless.Wait() // how it ended is in its status
	if status := endless.ProcessState.ExitCode(); status != 1 {
		t.Errorf("status %d after Ctrl-C, want 1\n%s", status, told.tail())
	}
	for _, reused := range []int{0, 20} {
		stdout, stderr, status := run("tiny-says")
		if want := fmt.Sprintf("answered, %d of them before, 0 failed, 0 not asked", reused); status != 0 || !strings.Contains(stderr, want) {
			t.Fatalf("status %d, want %q\n%s%s", status, want, stdout, stderr)
		}
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		for i, line := range lines {
			if want := fmt.Sprintf("note-%03d.txt: %s", i, tinymodels.Says.Answer); line != want {
				t.Errorf("line %d is %q, want %q", i, line, want)
			}
		}
		if want := 20 + reused; len(lines) != want {
			t.Errorf("%d lines, want %d", len(lines), want)
		}
		for i := 20; i < 40; i++ {
			write(i)
		}
	}
	if stdout, stderr, status := run("nowhere"); status != 1 || !strings.Contains(stderr, `"nowhere" is not installed`) {
		t.Errorf("an unknown model: status %d\n%s%s", status, stdout, stderr)
	}
}
