package app

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// atHome runs a program with a home directory.
func atHome(t *testing.T, program, home string, env []string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(env, "BE_OLLAMA_MCP=1", "HOME="+home, "GORACE=atexit_sleep_ms=0")
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the status tells
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// installed returns the path of a copy of the program, since go test runs it from a place that
// the command refuses.
func installed(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "ollama-mcp")
	text, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(program, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func TestServerIsInstalledWithItsOptionsAndTheEnvironmentOfTheShellButWithoutSecrets(t *testing.T) {
	t.Parallel()
	program, home := installed(t), t.TempDir()
	env := []string{"OLLAMA_HOST=gpu:11434", "OLLAMA_MCP_SLOTS=2", "OLLAMA_API_KEY=secret"}
	out, errs, status := atHome(t, program, home, env, "install", "cursor", "--", "--queue=9")
	text, err := os.ReadFile(filepath.Join(home, ".cursor", "mcp.json"))
	if status != ok || err != nil {
		t.Fatalf("status %d, %s (%v)", status, errs, err)
	}
	for _, want := range []string{program, `["--queue=9"]`, `"OLLAMA_HOST": "gpu:11434"`, `"OLLAMA_MCP_SLOTS": "2"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the settings do not have %s:\n%s", want, text)
		}
	}
	if all := string(text) + out + errs; strings.Contains(all, "secret\"") || strings.Contains(all, "=secret") || !strings.Contains(errs, "OLLAMA_API_KEY is set") {
		t.Errorf("the key is written, or it is not said that it is not:\n%s", all)
	}
}

func TestMistakesInTheCommandInstallAreToldBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	program := installed(t)
	for _, c := range []struct {
		args, want string
		status     int
	}{
		{"cursr", `unknown host "cursr"; known are claude-desktop`, failure},
		{"cursor --scope=system", "must be user or project", misuse},
		{"cursor --name=a/b", "1 to 32 letters", misuse},
		{"cursor --slots=2", "unknown flag", misuse},
		{"cursor -- --slots=x", "the server would not start", misuse},
		{"cursor -- --listen=127.0.0.1:0", "--listen cannot be used", misuse},
		{"cursor -- --state-dir=state", "use an absolute one", misuse},
		{"cursor --print --remove", "do not go together", failure},
		{"", "no MCP host was found", failure},
	} {
		home := t.TempDir()
		_, errs, status := atHome(t, program, home, nil, append([]string{"install"}, strings.Fields(c.args)...)...)
		if status != c.status || !strings.Contains(errs, c.want) {
			t.Errorf("install %s: status %d, %s; want %d and %q", c.args, status, errs, c.status, c.want)
		}
		if made, err := os.ReadDir(home); err != nil || len(made) > 0 {
			t.Errorf("install %s: made %v (%v)", c.args, made, err)
		}
	}
}
