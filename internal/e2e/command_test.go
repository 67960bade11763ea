package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

// shell runs the program with arguments to its end, as a shell does.
func shell(t *testing.T, ollama string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := command(deadline(t), ollama, args...)
	return output(t, cmd)
}

func output(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestCallPrintsTheAnswerAndItsStatusSaysHowItWent(t *testing.T) {
	prompt := filepath.Join(t.TempDir(), "prompt.txt")
	if err := os.WriteFile(prompt, []byte("Who jumps?"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name           string
		ollama         string
		args           []string
		stdout, stderr string // parts of the output
		status         int
	}{
		{"list of tools", shared.URL(), []string{}, "list-models  ", "", 0},
		{"generate", shared.URL(), []string{"generate", "model=tiny-says", "prompt=hi", "options.seed=1"}, tinymodels.Says.Answer + "\n", "", 0},
		{"a prompt from a file", shared.URL(), []string{"generate", "model=tiny-says", "prompt=@" + prompt}, tinymodels.Says.Answer + "\n", "", 0},
		{"chat", shared.URL(), []string{"chat", "model=tiny-says", `messages=[{"role":"user","content":"hi"}]`}, tinymodels.Says.Answer + "\n", "", 0},
		{"embed", shared.URL(), []string{"embed", "model=tiny-words", "input=bread", "--json"}, `"dimensions": 256`, "", 0},
		{"list-models", shared.URL(), []string{"list-models", "capability=embedding"}, "tiny-words:latest", "", 0},
		{"a note", shared.URL(), []string{"generate", "model=tiny-loops", "prompt=hi", "options.num_predict=2"}, " tick tock\n", "Note: The answer was cut", 0},
		{"missing model", shared.URL(), []string{"generate", "model=tiny-say", "prompt=hi"}, "", `did you mean "tiny-says"?`, 1},
		{"unknown argument", shared.URL(), []string{"generate", "model=tiny-says", "promt=hi"}, "", `did you mean "prompt"?`, 1},
		{"unknown tool", shared.URL(), []string{"generat", "model=tiny-says"}, "", "did you mean generate?", 2},
		{"no Ollama", nobody, []string{"list-models"}, "", "ollama serve", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, status := shell(t, c.ollama, append([]string{"call"}, c.args...)...)
			if status != c.status || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || c.stdout == "" && stdout != "" {
				t.Errorf("got status %d\n%s\n%s\nwant %d, %q and %q", status, stdout, stderr, c.status, c.stdout, c.stderr)
			}
		})
	}
}

func TestInterruptedCallStopsOllama(t *testing.T) {
	t.Parallel()
	ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops}})
	cmd := talk(t, ollama)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // how it ended is in its status
	if status := cmd.ProcessState.ExitCode(); status != 130 {
		t.Errorf("status %d, want 130", status)
	}
	eventually(t, "Ollama has stopped", func() bool { return ended(ollama, "/api/generate") == 1 })
}

func TestDoctorTellsWhetherOllamaCanBeUsed(t *testing.T) {
	stdout, stderr, status := shell(t, shared.URL(), "doctor")
	if status != 0 || stderr != "" || !strings.Contains(stdout, sharedHost()) {
		t.Errorf("with Ollama: status %d\n%s%s", status, stdout, stderr)
	}
	stdout, stderr, status = shell(t, nobody, "doctor")
	if status != 1 || stderr != "" || !strings.Contains(stdout, "ollama serve") {
		t.Errorf("without Ollama: status %d\n%s%s", status, stdout, stderr)
	}
	empty := ollamatest.Start(t, ollamatest.Options{})
	stdout, _, _ = shell(t, empty.URL(), "doctor")
	if !strings.Contains(stdout, "ollama pull") {
		t.Errorf("without models:\n%s", stdout)
	}
}

func TestProgramSaysWhatItIs(t *testing.T) {
	if stdout, _, status := shell(t, nobody, "version"); status != 0 || !strings.HasPrefix(stdout, "ollama-mcp ") {
		t.Errorf("version: status %d, %q", status, stdout)
	}
	if stdout, _, status := shell(t, nobody, "serve", "--help"); status != 0 || !strings.Contains(stdout, "--drain-timeout") {
		t.Errorf("help: status %d, %q", status, stdout)
	}
	if _, stderr, status := shell(t, nobody, "--slot=3"); status != 2 || !strings.Contains(stderr, "--slot") {
		t.Errorf("unknown flag: status %d, %q", status, stderr)
	}
	if _, stderr, status := shell(t, "http://local host:x", "doctor"); status != 2 || strings.Count(stderr, "\n") > 2 {
		t.Errorf("bad address: status %d, %q", status, stderr)
	}
}
