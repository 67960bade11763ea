package tools_test

import (
	"fmt"
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

func TestInvalidModelNameIsRefusedAndNotRepeated(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1"))
		for _, name := range []string{" tiny", "tiny ", "tiny\n", "ti\u202eny", "ti\x00ny", "ti\nny", "ti\u200bny", strings.Repeat("x", 5000)} {
			for args, tool := range map[string]string{
				`{"model":%q,"prompt":"?"}`:                                "generate",
				`{"model":%q,"messages":[{"role":"user","content":"?"}]}`:  "chat",
				`{"model":%q,"input":"?"}`:                                 "embed",
				`{"model":"tiny","prompt":"?","fallback_models":["x",%q]}`: "generate",
				`{"model":%q}`: "clear-cache",
			} {
				argument := `"model"`
				if strings.Contains(args, "fallback") {
					argument = `"fallback_models[1]"`
				}
				raw := strings.ReplaceAll(fmt.Sprintf(args, name), `\x00`, `\u0000`)
				a := c.as(caller.Caller{Admin: true}).fails(tool, raw, "invalid_argument", "argument "+argument, "list-models")
				if line := a.Content[0].Text; len(line) > 200 || strings.Contains(line, "\u202e") {
					t.Errorf("%s of %q: %q", tool, name, line)
				}
			}
		}
		if calls := host.Calls(); len(calls) != 0 {
			t.Errorf("the host was asked: %+v", calls)
		}
	})
}

func TestToolWithoutArgumentsIgnoresThoseThatHostsAdd(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1"))
		a := c.succeeds("status", `{"random_string":"x","params":{"y":[1]}}`)
		if notes := fmt.Sprint(a.StructuredContent["notes"]); !strings.Contains(notes, "Ignored") || !strings.Contains(notes, "random_string, params") {
			t.Errorf("got the notes %s, want them to name what was ignored", notes)
		}
		if a := c.succeeds("status", `[]`); a.StructuredContent["notes"] != nil {
			t.Errorf("no arguments: got the notes %v", a.StructuredContent["notes"])
		}
	})
}

// aliased makes the tools use a host with the models big and small, and aliases for them
// and for the model of a provider.
func aliased(c *client) {
	c.t.Helper()
	try := map[string][]string{"pro:latest": {"big:latest", "small:latest", "openai/gpt"}, "afar:latest": {"openai/gpt"}}
	ladders, err := route.NewLadders(try, nil, map[string]bool{"openai": true})
	if err != nil {
		c.t.Fatal(err)
	}
	settings := &inference.Settings{Ladders: ladders, Models: map[string]inference.ForModel{"big:latest": {}}}
	for alias, models := range try {
		settings.Models[alias] = inference.ForModel{Try: models}
	}
	c.opts.Settings = func() *inference.Settings { return settings }
	c.useAll(pool.Options{}, backendtest.New("gpu-1").Install(backendtest.Model{Name: "big"}, backendtest.Model{Name: "small"}))
}

func TestAliasesAreListedAndSuggested(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		aliased(c)
		for args, want := range map[string]string{
			`{}`:                          "[map[name:afar stands_for:[openai/gpt]] map[name:pro stands_for:[big small openai/gpt]]]",
			`{"query":"PR"}`:              "[map[name:pro stands_for:[big small openai/gpt]]]",
			`{"capability":"tools"}`:      "[map[name:pro stands_for:[big small openai/gpt]]]",
			`{"capability":"vision"}`:     "<nil>",
			`{"host":"gpu-1"}`:            "[map[name:pro stands_for:[big small openai/gpt]]]",
			`{"query":"nothing like it"}`: "<nil>",
		} {
			if got := fmt.Sprint(c.succeeds("list-models", args).StructuredContent["aliases"]); got != want {
				t.Errorf("%s: got %s, want %s", args, got, want)
			}
		}
		c.fails("generate", `{"model":"prop","prompt":"?"}`, "model_not_found", `did you mean "pro"?`)
		c.fails("embed", `{"model":"pro","input":"x"}`, "model_not_found", "it is an alias, which embed does not know")
	})
}

func TestAliasIsListedOnlyForCallersWhoMayUseIt(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		aliased(c)
		for want, who := range map[string]caller.Caller{
			"[map[name:pro stands_for:[big small openai/gpt]]]": {Models: []string{"pro:latest"}},
			"<nil>": {Models: []string{"big:latest"}},
		} {
			got := c.as(who).succeeds("list-models", `{"capability":"completion"}`).StructuredContent
			if fmt.Sprint(got["aliases"]) != want || len(got["models"].([]any)) != strings.Count(want, "nil") {
				t.Errorf("%v: got %v, want the aliases %s", who.Models, got, want)
			}
		}
	})
}
