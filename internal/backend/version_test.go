package backend_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
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

func TestAPIVersionIsThatOfTheModule(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	v := backend.APIVersion
	if want := fmt.Sprintf("github.com/ollama/ollama v%d.%d.%d\n", v[0], v[1], v[2]); err != nil || !strings.Contains(string(mod), want) {
		t.Errorf("go.mod does not require %q (%v)", want, err)
	}
}

func TestOptionsThatOllamaDoesNotHaveAreUnknown(t *testing.T) {
	all := make(map[string]any)
	for _, name := range backend.OptionNames() {
		all[name] = 1
	}
	if all["num_ctx"] == nil || all["draft_num_predict"] == nil || backend.UnknownOptions(all) != nil {
		t.Errorf("of %v these are unknown: %v", backend.OptionNames(), backend.UnknownOptions(all))
	}
	all["tempo"], all["Seed"], all[""] = 1, 1, 1
	if got := backend.UnknownOptions(all); !slices.Equal(got, []string{"", "Seed", "tempo"}) {
		t.Errorf("got %q", got)
	}
}

func TestOptionsThatAHostIsTooOldForAreNamed(t *testing.T) {
	for version, want := range map[string][]string{
		"0.17.4": {"draft_num_predict"}, "0.24.0": {"draft_num_predict"}, "0.29.9": {"draft_num_predict"}, "0.30.0-rc1": nil, "0.30.0": nil, "0.34.0": nil, "1.0.0": nil, "": nil, "new": nil,
	} {
		if got := backend.NewerOptions(map[string]any{"draft_num_predict": 8, "seed": 1}, version); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", version, got, want)
		}
	}
	if backend.MayBeNewer(map[string]any{"seed": 1}) || !backend.MayBeNewer(map[string]any{"draft_num_predict": 8}) {
		t.Error("the options that came with a later version are not those that are listed")
	}
}
