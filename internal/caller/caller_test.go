package caller_test

import (
	"strings"
	"testing"

	"ollama-mcp/internal/caller"
)

func TestCallerMayUseWhatItsPatternsName(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		name     string
		may      bool
	}{
		{nil, "llama3.2:latest", true},
		{[]string{}, "llama3.2:latest", false},
		{[]string{"llama3.2:latest"}, "llama3.2:latest", true},
		{[]string{"llama3.2:latest"}, "llama3.2:1b", false},
		{[]string{"qwen3:*"}, "qwen3:32b", true},
		{[]string{"qwen3:*"}, "qwen3-coder:30b", false},
		{[]string{"*"}, "hf.co/someone/model:latest", true},
		{[]string{"a", "b*"}, "bc", true},
	} {
		if got := (caller.Caller{Models: c.patterns}).MayUse(c.name); got != c.may {
			t.Errorf("%q and model %q: got %v, want %v", c.patterns, c.name, got, c.may)
		}
		if got := (caller.Caller{Tools: c.patterns}).MayCall(c.name); got != c.may {
			t.Errorf("%q and tool %q: got %v, want %v", c.patterns, c.name, got, c.may)
		}
	}
}

func TestGrantsDoNotCombine(t *testing.T) {
	who := caller.Caller{
		Tools: nil, Models: nil, Admin: true, // what the grants allow together
		Grants: []caller.Grant{
			{Tools: []string{"generate"}, Models: []string{"small:*"}},
			{Tools: []string{"embed", "list_*"}, Models: []string{"large:*"}},
			{Tools: []string{"embed"}, Models: []string{"tiny:1b"}, Admin: true},
			{Tools: []string{"status"}},
		},
	}
	for _, c := range []struct {
		tool, models string // that may be used with it
		admin        bool
	}{
		{"generate", "small:1b", false},
		{"embed", "large:1b tiny:1b", true},
		{"list-models", "large:1b", false},
		{"status", "small:1b large:1b tiny:1b", false},
		{"clear-cache", "", false},
	} {
		got := who.For(c.tool)
		var models []string
		for _, model := range []string{"small:1b", "large:1b", "tiny:1b"} {
			if got.MayUse(model) {
				models = append(models, model)
			}
		}
		if strings.Join(models, " ") != c.models || got.Admin != c.admin {
			t.Errorf("%s with %v as administrator %v, want %q and %v", c.tool, models, got.Admin, c.models, c.admin)
		}
	}
	if got := (caller.Caller{Models: []string{"small:1b"}, Admin: true}).For("embed"); !got.Admin || !got.MayUse("small:1b") || got.MayUse("large:1b") {
		t.Errorf("a caller without grants becomes %+v", got)
	}
}

func TestContextWithoutCallerIsTheUserOfThisMachine(t *testing.T) {
	got := caller.FromContext(t.Context())
	if got.ID != "" || !got.MayCall("chat") || !got.MayUse("any:latest") {
		t.Errorf("got %+v, want the zero Caller, who may everything", got)
	}
	ctx := caller.NewContext(t.Context(), caller.Caller{ID: "ci"})
	if got := caller.FromContext(ctx); got.ID != "ci" {
		t.Errorf("got %q, want the caller of the context", got.ID)
	}
}

func TestNamesOfToolsAreTheSameWithEitherSeparator(t *testing.T) {
	for pattern, name := range map[string]string{"list-models": "list_models", "list_models": "list-models", "list_*": "list-models", "clear-*": "clear_cache"} {
		if !(caller.Caller{Tools: []string{pattern}}).MayCall(name) {
			t.Errorf("%q does not allow %q", pattern, name)
		}
	}
	if (caller.Caller{Models: []string{"a_b"}}).MayUse("a-b") {
		t.Error("models of different names are taken for one")
	}
}
