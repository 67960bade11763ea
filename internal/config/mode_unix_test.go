//go:build unix

package config_test

import (
	"os"
	"testing"
)

// Secrets must not be readable by others, and keys of callers, which are hashes, not writable.
func TestFilesThatOthersMayReadOrChangeAreWarnedAbout(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "tokens.yaml", "")
	write(t, "key", "secret")
	write(t, "config.yaml", "{token-file: tokens.yaml, providers: {p: {kind: openai, url: http://a, key_file: key}}}")
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o400: 0, 0o640: 1, 0o604: 1, 0o644: 1, 0o620: 2, 0o602: 2} {
		for _, name := range []string{"tokens.yaml", "key"} {
			if err := os.Chmod(name, mode); err != nil {
				t.Fatal(err)
			}
		}
		c, err := parse([]string{"--config=config.yaml"}, nil)
		if err != nil || len(c.Warnings) != want {
			t.Errorf("%o: got %q, %v", mode, c.Warnings, err)
		}
	}
}
