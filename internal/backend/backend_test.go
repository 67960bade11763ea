package backend_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ollama-mcp/internal/backend"
)

func TestCanonicalModelIsOneNamePerModel(t *testing.T) {
	for name, want := range map[string]string{
		"x":                            "x:latest",
		"x:latest":                     "x:latest",
		" x\n":                         "x:latest",
		"x:7b":                         "x:7b",
		"me/x":                         "me/x:latest",
		"me/x:7b":                      "me/x:7b",
		"library/x":                    "x:latest",
		"registry.ollama.ai/library/x": "x:latest",
		"registry.ollama.ai/me/x:7b":   "me/x:7b",
		"registry.example:5000/x":      "registry.example:5000/x:latest",
		"registry.example:5000/me/x:1": "registry.example:5000/me/x:1",
		"hf.co/Some/Model-GGUF:Q4_K_M": "hf.co/Some/Model-GGUF:Q4_K_M",
		"":                             "",
		"  ":                           "",
		"me/":                          "me/",
	} {
		if got := backend.CanonicalModel(name); got != want {
			t.Errorf("CanonicalModel(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestCanonicalModelOfACanonicalNameIsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringMatching(`[a-zA-Z0-9][a-zA-Z0-9._-]{0,8}`)
		name := strings.Join(rapid.SliceOfN(part, 1, 3).Draw(t, "path"), "/")
		if rapid.Bool().Draw(t, "has a tag") {
			name += ":" + part.Draw(t, "tag")
		}
		once := backend.CanonicalModel(name)
		if twice := backend.CanonicalModel(once); twice != once {
			t.Fatalf("%q becomes %q and then %q", name, once, twice)
		}
		if base := once[strings.LastIndex(once, "/")+1:]; strings.Count(base, ":") != 1 {
			t.Fatalf("%q becomes %q, which has not one tag", name, once)
		}
	})
}
