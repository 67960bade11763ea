package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"ollama-mcp/internal/config"
)

func TestReloadReadsTheTokenFileOfTheLastConfigurationIfNoneIsNamedBeforeTheMistake(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"config.yaml": "solts: 1\n",
		"keys.yaml":   "- {name: ci, sha256: " + digest + ", models: [a/b, 'C*']}\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	last := config.Config{TokenFile: filepath.Join(dir, "keys.yaml")}
	c, err := config.Reload(last, []string{"--config=" + filepath.Join(dir, "config.yaml")}, func(string) string { return "" })
	keys, read := c.KeyFiles[last.TokenFile]
	if err == nil || !read || len(keys) != 1 || len(c.Files) != 2 {
		t.Fatalf("got %+v, %v; want the key of the file in spite of the mistake", c.KeyFiles, err)
	}
	// Nobody can say now whether a is a provider.
	for model, may := range map[string]bool{"a/b": true, "a/b:latest": true, "c:1b": true, "d:1b": false} {
		if got := keys[0].Caller.MayUse(model); got != may {
			t.Errorf("the key may use %s: got %v, want %v", model, got, may)
		}
	}
}
