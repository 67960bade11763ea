package e2e_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"ollama-mcp/internal/e2e/clients"
	"ollama-mcp/internal/e2e/tinymodels"
)

func TestInspectorIsContentInBothErasOfTheProtocolOverEveryTransport(t *testing.T) {
	url := listen(t, "127.0.0.1:0").url()
	stdio := []string{program, "-e", "OLLAMA_HOST=" + shared.URL()}
	http := []string{url + "/mcp", "--transport", "http"}
	sse := []string{url + "/sse", "--transport", "sse"}
	for _, w := range []struct {
		name, era string
		args      []string
	}{
		{"stdio, legacy", "legacy", stdio},
		{"stdio, modern", "modern", stdio},
		{"http, legacy", "legacy", http},
		{"http, modern", "modern", http},
		{"sse", "legacy", sse},
	} {
		inspect := func(t *testing.T, args ...string) clients.Result {
			return clients.Inspector(t, slices.Concat(w.args, []string{"--protocol-era", w.era}, args)...)
		}
		t.Run(w.name+", tools/list --strict", func(t *testing.T) {
			t.Parallel()
			got := inspect(t, "--method", "tools/list", "--strict")
			want := slices.Clone(toolNames)
			if w.era == "modern" { // in which the Inspector has tasks, so that it needs no jobs
				want = slices.DeleteFunc(want, func(name string) bool { return name == "job" })
			}
			var list struct{ Tools []struct{ Name string } }
			err := json.Unmarshal([]byte(got.Stdout), &list)
			var names []string
			for _, tool := range list.Tools {
				names = append(names, tool.Name)
			}
			if slices.Sort(names); err != nil || !slices.Equal(names, want) {
				t.Errorf("the tools %q are listed (%v), want %q", names, err, want)
			}
			if got.Exit != 0 || got.Stderr != "" {
				t.Errorf("exit status %d, complaints:\n%s", got.Exit, got.Stderr)
			}
		})
		t.Run(w.name+", tools/call", func(t *testing.T) {
			t.Parallel()
			got := inspect(t, "--method", "tools/call", "--tool-name", "generate",
				"--tool-arg", "model=tiny-says", "--tool-arg", "prompt=hi", "--tool-arg", `options={"seed":1}`)
			var a answer
			if err := json.Unmarshal([]byte(got.Stdout), &a); err != nil || got.Exit != 0 || a.text() != tinymodels.Says.Answer {
				t.Errorf("exit status %d, %v, %s\n%s", got.Exit, err, got.Stdout, got.Stderr)
			}
		})
		t.Run(w.name+", tools/call with a mistake", func(t *testing.T) {
			t.Parallel()
			got := inspect(t, "--method", "tools/call", "--tool-name", "generate", "--tool-arg", "model=tiny-says")
			if got.Exit != 5 || !strings.Contains(got.Stdout+got.Stderr, `"prompt\" is missing`) {
				t.Errorf("exit status %d, want 5\n%s\n%s", got.Exit, got.Stdout, got.Stderr)
			}
		})
	}
}
