package config

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"
)

func TestWhatAProgramThatStartsTheServerMustPassOn(t *testing.T) {
	env := map[string]string{
		"OLLAMA_HOST": "gpu", "OLLAMA_MCP_SLOTS": "2", "OLLAMA_MCP_QUEUE": "9", "OLLAMA_MCP_STATE_DIR": "state",
		"OLLAMA_API_KEY": "secret", "OLLAMA_MCP_KEY": "secret", "PATH": "/bin",
	}
	getenv := func(name string) string { return env[name] }
	var c Config
	fs := Flags(&c)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := Parse(fs, &c, []string{"--queue=3", "--ca-file=" + file, "--allow-dir=" + filepath.Dir(file) + ",docs"}, getenv); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"OLLAMA_HOST": "gpu", "OLLAMA_MCP_SLOTS": "2", "OLLAMA_MCP_STATE_DIR": "state"}
	if got := SetInEnvironment(fs, getenv); !maps.Equal(got, want) {
		t.Errorf("passes on %v, want %v", got, want)
	}
	if got := RelativePaths(fs); !slices.Equal(got, []string{"allow-dir", "state-dir"}) {
		t.Errorf("relative paths are those of %q, want allow-dir and state-dir", got)
	}
}
