package inference_test

import (
	"testing"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/moderation"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// Whatever a reload removes, a request goes by the settings that held when it came.
func TestEachRequestTakesOneSnapshotOfTheSettings(t *testing.T) {
	requests := []struct {
		name string
		make func(t *testing.T, c *client) answer
	}{
		{"an alias", func(t *testing.T, c *client) answer {
			return c.call(t.Context(), "generate", `{"model":"pro","prompt":"yes"}`)
		}},
		{"the model of a provider", func(t *testing.T, c *client) answer {
			return c.call(t.Context(), "chat", `{"model":"openai/gpt","messages":[{"role":"user","content":"yes"}]}`)
		}},
		{"a fallback", func(t *testing.T, c *client) answer {
			return c.call(t.Context(), "generate", `{"model":"absent","prompt":"yes","fallback_models":["openai/gpt"]}`)
		}},
		{"vectors", func(t *testing.T, c *client) answer {
			return c.call(t.Context(), "embed", `{"model":"words","input":["yes"]}`)
		}},
		{"a list", func(t *testing.T, c *client) answer {
			_, err := c.engine.List(t.Context(), caller.Caller{}, inference.Filter{Capability: "completion"})
			if err != nil {
				t.Error(err)
			}
			return answer{}
		}},
		{"a failure", func(t *testing.T, c *client) answer {
			return c.call(t.Context(), "generate", `{"model":"prop","prompt":"yes","local_only":true}`)
		}},
	}
	removals := map[string]func(*inference.Settings){
		"nothing":      func(*inference.Settings) {},
		"the filter":   func(s *inference.Settings) { s.Filter = nil },
		"the provider": func(s *inference.Settings) { s.Providers, s.Ladders = nil, nil },
		"the alias":    func(s *inference.Settings) { s.Models, s.Ladders = nil, nil },
		"all":          func(s *inference.Settings) { *s = inference.Settings{} },
	}
	for removed, remove := range removals {
		story(t, func(t *testing.T, c *client) {
			var reads, after int64 // after so many reads the others hold
			before := c.rich()
			other := *before
			remove(&other)
			c.opts.Settings = func() *inference.Settings {
				if reads++; reads > after {
					return &other
				}
				return before
			}
			c.opts.Semantic = &inference.SemanticOptions{Model: "words"}
			c.useAll(pool.Options{}, backendtest.New("gpu-1").AnswerWith(guarded).
				Install(backendtest.Model{Name: "words"}, backendtest.Model{Name: "judge"}))
			for after = range 20 {
				for _, request := range requests {
					reads = 0
					a := request.make(t, c)
					if reads != 1 {
						t.Errorf("%s, without %s: %d reads of the settings, want 1", request.name, removed, reads)
					}
					// Only the settings of the first read may show.
					fails := request.name == "a failure"
					if after > 0 && (a.err != nil) != fails || a.code() == "internal" {
						t.Errorf("%s, without %s after read %d: %v", request.name, removed, after, a)
					}
				}
			}
		})
	}
}

// rich are settings with an alias, a provider, and a filter with a guard.
func (c *client) rich() *inference.Settings {
	c.t.Helper()
	try := []string{"big:latest", "openai/gpt"}
	ladders, err := route.NewLadders(map[string][]string{"pro:latest": try}, []string{"openai/gpt"}, map[string]bool{"openai": true})
	if err != nil {
		c.t.Fatal(err)
	}
	filter, err := moderation.NewFilter([]moderation.Rule{noKeys}, &moderation.Guard{Model: "judge", Prompt: "?"})
	if err != nil {
		c.t.Fatal(err)
	}
	cloud := backendtest.New("openai").AnswerWith(guarded).Install(backendtest.Model{Name: "gpt"})
	return &inference.Settings{
		Ladders: ladders, Filter: filter,
		Models:    map[string]inference.ForModel{"pro:latest": {Try: try}, "words:latest": {SameAs: []string{"openai/words"}}},
		Providers: map[string]inference.Lender{"openai": c.pool(pool.Options{}, cloud)},
	}
}
