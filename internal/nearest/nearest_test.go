package nearest_test

import (
	"reflect"
	"testing"

	"ollama-mcp/internal/nearest"
)

func TestNearestNamesAreTheOnesMeant(t *testing.T) {
	known := []string{"llama3.2:1b", "llama3.2", "qwen3:32b", "nomic-embed-text"}
	for word, want := range map[string][]string{
		"lama3.2":         {"llama3.2", "llama3.2:1b"},
		"LLAMA3.2":        {"llama3.2", "llama3.2:1b"},
		"qwen3":           {"qwen3:32b"},
		"qwen3:23b":       {"qwen3:32b"},
		"nomic-embed":     {"nomic-embed-text"},
		"nomic-embd-text": {"nomic-embed-text"},
		"mistral":         nil,
		"a":               nil,
		"":                nil,
	} {
		if got := nearest.Names(word, known, 2); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if got := nearest.Names("llama", known, 1); len(got) != 1 {
		t.Errorf("at most one is wanted, got %q", got)
	}
}
