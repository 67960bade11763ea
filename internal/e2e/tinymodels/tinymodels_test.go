package tinymodels_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"ollama-mcp/internal/e2e/tinymodels"
)

func TestModelIsTheSameEveryTime(t *testing.T) {
	for _, m := range tinymodels.All {
		t.Run(m.Name, func(t *testing.T) {
			if first, second := written(t, m), written(t, m); !bytes.Equal(first, second) {
				t.Error("two files of one model differ")
			}
		})
	}
}

func TestModelIsSmall(t *testing.T) {
	const limit = 4 << 20
	for _, m := range tinymodels.All {
		if size := len(written(t, m)); size > limit {
			t.Errorf("%s: %d bytes, want at most %d", m.Name, size, limit)
		}
	}
}

func TestModelIsNotWrittenWhereItCannotBe(t *testing.T) {
	if err := tinymodels.Says.WriteFile(filepath.Join(t.TempDir(), "none", "model.gguf")); err == nil {
		t.Error("no error for a folder that is not there")
	}
}

func written(t *testing.T, m tinymodels.Model) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := m.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
