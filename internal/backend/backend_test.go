package backend_test

import (
	"strings"
	"testing"

	"github.com/ollama/ollama/types/model"
	"pgregory.net/rapid"

	"ollama-mcp/internal/backend"
)

func TestCanonicalModelIsOneNamePerModel(t *testing.T) {
	for name, want := range map[string]string{
		"x":                                    "x:latest",
		"x:latest":                             "x:latest",
		"X:Latest":                             "x:latest",
		"x:7b":                                 "x:7b",
		"me/x":                                 "me/x:latest",
		"me/x:7b":                              "me/x:7b",
		"library/x":                            "x:latest",
		"registry.ollama.ai/library/x":         "x:latest",
		"https://registry.ollama.ai/library/x": "x:latest",
		"registry.ollama.ai/me/x:7b":           "me/x:7b",
		"registry.example:5000/me/x:1":         "registry.example:5000/me/x:1",
		"hf.co/Some/Model-GGUF:Q4_K_M":         "hf.co/some/model-gguf:q4_k_m",
	} {
		if got := backend.CanonicalModel(name); got != want {
			t.Errorf("CanonicalModel(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestWhatOllamaTakesForNoNameStaysAsItIs(t *testing.T) {
	for _, name := range []string{
		"", "  ", " x", "x ", "x\n", "\tx:latest", "x:", "/x", "me/", "library/", "a/b/c/d", "X\u212a", // the sign for kelvin, whose lower case is k
		"registry.ollama.ai/x", "registry.example:5000/x",
	} {
		if got := backend.CanonicalModel(name); got != name {
			t.Errorf("CanonicalModel(%q) = %q", name, got)
		}
	}
}

// spelling is a name of few parts, so that two of them are often of the same model.
var spelling = rapid.Custom(func(t *rapid.T) string {
	one := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	name := one("host", "", "", "registry.ollama.ai/", "Registry.Ollama.AI/", "https://registry.ollama.ai/", "h:1/", "/") +
		one("namespace", "", "", "library/", "Library/", "me/", "registry.ollama.ai/", "/") +
		one("model", "x", "x", "X", "y", "", "x ", "\u212a", "k", "a:b") +
		one("tag", "", "", ":latest", ":LATEST", ":7b", ":")
	return rapid.SampledFrom([]string{name, name, " " + name, name + "\n"}).Draw(t, "name")
})

func TestNamesAreCanonicallyTheSameIfOllamaTakesThemForOneModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := spelling.Draw(t, "a"), spelling.Draw(t, "b")
		m, n := model.ParseName(a), model.ParseName(b)
		same := a == b || m.IsValid() && n.IsValid() && strings.EqualFold(m.String(), n.String())
		if got := backend.CanonicalModel(a) == backend.CanonicalModel(b); got != same {
			t.Fatalf("%q and %q become %q and %q, and to Ollama are the same: %v", a, b, backend.CanonicalModel(a), backend.CanonicalModel(b), same)
		}
	})
}

func FuzzCanonicalModelOfACanonicalNameIsItself(f *testing.F) {
	for _, name := range []string{"x", "me/X:7b", "https://registry.ollama.ai/library/x", "x ", ""} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		once := backend.CanonicalModel(name)
		if twice := backend.CanonicalModel(once); twice != once {
			t.Fatalf("%q becomes %q and then %q", name, once, twice)
		}
		if was, is := model.ParseName(name), model.ParseName(once); was.IsValid() != is.IsValid() || was.IsValid() && !was.EqualFold(is) {
			t.Fatalf("%q becomes %q, which to Ollama is another model", name, once)
		}
	})
}

func BenchmarkCanonicalModel(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = backend.CanonicalModel("hf.co/some/model-gguf:q4_k_m")
	}
}
