package backend_test

import (
	"testing"

	"ollama-mcp/internal/backend"
)

func TestDefaultsAreThoseOfTheVersion(t *testing.T) {
	for version, want := range map[string]string{
		"0.17.4": "", "0.32.9": "", "0.32.10-rc0": "repeat_penalty 1.0", "0.32.10": "repeat_penalty 1.0", "0.34.0": "repeat_penalty 1.0", "1.0.0": "repeat_penalty 1.0",
		"": "", "0.0.0": "", "new": "", "0.33": "",
	} {
		if got := backend.Defaults(version); got != want {
			t.Errorf("%q: got %q, want %q", version, got, want)
		}
	}
}
