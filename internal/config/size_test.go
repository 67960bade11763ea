package config_test

import (
	"testing"

	"ollama-mcp/internal/config"
)

func TestSizesAreReadWithTheirUnitsAndWrittenSoThatTheyCanBeReadAgain(t *testing.T) {
	for text, want := range map[string]config.Size{
		"512MiB": 512 << 20, "2GiB": 2 << 30, "2 GB": 2_000_000_000, "1.5gib": 3 << 29, "512Mi": 512 << 20, "1024M": 1_024_000_000, "100000000": 100_000_000,
	} {
		var got, again config.Size
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
		if err := again.Set(got.String()); err != nil || again != got {
			t.Errorf("%q is written as %q, which is %d, %v", text, got.String(), again, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "MiB", "2 gallons", "1e3", "99999999TiB", "NaN", "0.1"} {
		if err := new(config.Size).Set(text); err == nil {
			t.Errorf("%q was taken for a size", text)
		}
	}
}
