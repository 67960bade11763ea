package nearest_test

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ollama-mcp/internal/nearest"
)

func TestNearestNamesAreTheOnesMeant(t *testing.T) {
	known := []string{"llama3.2:1b", "llama3.2", "qwen3:32b", "nomic-embed-text", "pro"}
	for word, want := range map[string][]string{
		"lama3.2":                  {"llama3.2", "llama3.2:1b"},
		"LLAMA3.2":                 {"llama3.2", "llama3.2:1b"},
		"qwen3":                    {"qwen3:32b"},
		"qwen3:23b":                {"qwen3:32b"},
		"nomic-embed":              {"nomic-embed-text"},
		"nomic-embd-text":          {"nomic-embed-text"},
		"por":                      {"pro"},
		"rpo":                      {"pro"},
		"orp":                      nil, // two slips in three letters
		"mistral":                  nil,
		"a":                        nil,
		"":                         nil,
		strings.Repeat("pro", 1e6): nil,
	} {
		if got := nearest.Names(word, known, 2); !reflect.DeepEqual(got, want) {
			t.Errorf("%.20q: got %q, want %q", word, got, want)
		}
	}
	if got := nearest.Names("llama", known, 1); len(got) != 1 {
		t.Errorf("at most one is wanted, got %q", got)
	}
}

func TestNameIsFoundInSpiteOfASlip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z0-9:.-]{2,20}`).Draw(t, "name")
		at := rapid.IntRange(0, len(name)-2).Draw(t, "at")
		before, two, after := name[:at], name[at:at+2], name[at+2:]
		for slip, word := range map[string]string{
			"more":    before + "x" + two + after,
			"less":    before + two[1:] + after,
			"another": before + "x" + two[1:] + after,
			"swapped": before + two[1:] + two[:1] + after,
		} {
			if got := nearest.Names(word, []string{"something-else-altogether", name}, 1); !reflect.DeepEqual(got, []string{name}) {
				t.Errorf("a letter %s: %q: got %q, want %q", slip, word, got, name)
			}
		}
	})
}
