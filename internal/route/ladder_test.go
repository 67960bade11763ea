package route_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ollama-mcp/internal/route"
)

func ladders(t *testing.T) *route.Ladders {
	t.Helper()
	l, err := route.NewLadders(map[string][]string{
		"chat-pro": {"qwen3:32b", "qwen3:8b", "openai/gpt-4o-mini"},
		"small":    {"qwen3:8b", "lan/llama"},
		"best":     {"chat-pro", "small"},
		"llama3.2": {"llama3.2", "qwen3:8b"},
	}, []string{"small"}, map[string]bool{"openai": true, "lan": false})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLadderTriesEachRungOnceAndInOrder(t *testing.T) {
	for names, want := range map[string]string{
		"mistral":                "mistral",
		"mistral gemma chat-pro": "mistral gemma qwen3:32b qwen3:8b openai/gpt-4o-mini",
		"chat-pro small":         "qwen3:32b qwen3:8b openai/gpt-4o-mini lan/llama",
		"best":                   "qwen3:32b qwen3:8b openai/gpt-4o-mini lan/llama",
		"llama3.2 mistral":       "llama3.2 qwen3:8b mistral",
		"hf.co/someone/model":    "hf.co/someone/model",
		"openai/gpt-5 mistral":   "openai/gpt-5 mistral",
	} {
		rungs, err := ladders(t).Of(strings.Fields(names)...)
		if err != nil {
			t.Errorf("%s: %v", names, err)
		}
		if got := strings.Trim(fmt.Sprint(rungs), "[]"); got != want {
			t.Errorf("%s: got %s, want %s", names, got, want)
		}
	}
}

func TestOnlyACloudsModelLeavesForACloud(t *testing.T) {
	rungs, err := ladders(t).Of("openai/gpt-5", "lan/llama", "openai", "qwen3:8b")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []route.Rung{
		{Provider: "openai", Model: "gpt-5", Cloud: true}, {Provider: "lan", Model: "llama"}, {Model: "openai"}, {Model: "qwen3:8b"},
	} {
		if rungs[i] != want {
			t.Errorf("rung %d: got %+v, want %+v", i, rungs[i], want)
		}
	}
}

func TestLaddersThatCannotBeClimbedAreRefused(t *testing.T) {
	for want, aliases := range map[string]map[string][]string{
		"a stands for nothing": {"a": {}},
		"stands for itself":    {"a": {"m", "b"}, "b": {"c"}, "c": {"a"}},
	} {
		if _, err := route.NewLadders(aliases, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want that %s", aliases, err, want)
		}
	}
}

func TestAnyLadderEndsWithoutARungTwice(t *testing.T) {
	names := []string{"a", "b", "c", "d", "m", "n", "p/x"}
	rapid.Check(t, func(r *rapid.T) {
		list := rapid.SliceOfN(rapid.SampledFrom(names), 1, 4)
		aliases := rapid.MapOfN(rapid.SampledFrom(names[:4]), list, 0, 4).Draw(r, "aliases")
		l, err := route.NewLadders(aliases, list.Draw(r, "fallback"), map[string]bool{"p": true})
		if err != nil {
			r.Skip("refused")
		}
		rungs, err := l.Of(append(l.Fallback(), rapid.SampledFrom(names).Draw(r, "model"))...)
		if err != nil || len(rungs) == 0 {
			r.Fatalf("%v, %v", rungs, err)
		}
		seen := map[route.Rung]bool{}
		for _, rung := range rungs {
			if seen[rung] {
				r.Fatalf("%v is there twice: %v", rung, rungs)
			}
			seen[rung] = true
		}
	})
}
