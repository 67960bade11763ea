package tools_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/pool"
)

func TestListModelsShowsCapabilitiesAndHosts(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").Install(
			backendtest.Model{Name: "qwen3", Family: "qwen3", Context: 40960, Capabilities: []string{"completion", "tools"}},
			backendtest.Model{Name: "words", Capabilities: []string{"embedding"}}))
		c.succeeds("generate", `{"model":"tiny","prompt":"load it"}`)
		names := func(args string) (names []string) {
			for _, m := range c.succeeds("list-models", args).StructuredContent["models"].([]any) {
				names = append(names, m.(map[string]any)["name"].(string))
			}
			return names
		}
		for args, want := range map[string]string{
			`{}`:                             "qwen3:latest tiny:latest words:latest",
			`{"query":"QWEN"}`:               "qwen3:latest",
			`{"capability":"embedding"}`:     "tiny:latest words:latest",
			`{"capability":" Embedding"}`:    "tiny:latest words:latest",
			`{"host":"gpu-1","query":"tin"}`: "tiny:latest",
			`{"query":"nothing like it"}`:    "",
		} {
			if got := strings.Join(names(args), " "); got != want {
				t.Errorf("%s: got %s, want %s", args, got, want)
			}
		}
		c.fails("list-models", `{"host":"gpu-2"}`, "invalid_argument", "gpu-1")

		models := c.succeeds("list-models", `{}`).StructuredContent["models"].([]any)
		qwen, tiny := models[0].(map[string]any), models[1].(map[string]any)
		if qwen["context_length"] != 40960.0 || qwen["family"] != "qwen3" || qwen["loaded"] != nil {
			t.Errorf("qwen3: %v", qwen)
		}
		if tiny["loaded"] == nil {
			t.Errorf("tiny was used and does not count as loaded: %v", tiny)
		}
	})
}

func TestEmptyListSaysWhichFilterHasEmptiedIt(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1"))
		for args, want := range map[string]string{
			`{"capability":"translation"}`:                `capability "translation"`,
			`{"query":"llama9"}`:                          `"llama9" in its name`,
			`{"query":"tiny","capability":"clairvoyant"}`: `capability "clairvoyant"`,
		} {
			if got := fmt.Sprint(c.succeeds("list-models", args).StructuredContent["notes"]); !strings.Contains(got, want) {
				t.Errorf("%s: the notes are %s, want %s", args, got, want)
			}
		}
		host.Remove("tiny")
		if got := fmt.Sprint(c.succeeds("list-models", `{}`).StructuredContent["notes"]); !strings.Contains(got, "No model is installed") {
			t.Errorf("without models: %s", got)
		}
	})
}

func TestHostThatIsKnownToBeIllHoldsUpAListForMomentsOnly(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		frozen, well := backendtest.New("gpu-1"), backendtest.New("gpu-2")
		c.useAll(pool.Options{}, frozen, well)
		frozen.Down()
		for range 10 { // until its circuit breaker opens
			c.call(c.context(), "generate", `{"model":"tiny","prompt":"hi","host":"gpu-1","cache":"off"}`)
		}
		frozen.Mend().Break(backendtest.Hang)
		began := time.Now()
		out := c.succeeds("list-models", `{}`).StructuredContent
		if took := time.Since(began); took != 2*time.Second || fmt.Sprint(out["unreachable"]) != "map[gpu-1:no answer within 2s]" || len(out["models"].([]any)) != 1 {
			t.Errorf("after %v: got %v", took, out)
		}
	})
}

func TestHungHostIsListedAsUnreachable(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		frozen, well := backendtest.New("gpu-1"), backendtest.New("gpu-2")
		c.useAll(pool.Options{}, frozen, well)
		frozen.Break(backendtest.Hang)
		out := c.succeeds("list-models", `{}`).StructuredContent
		if fmt.Sprint(out["unreachable"]) != "map[gpu-1:no answer within 10s]" || len(out["models"].([]any)) != 1 {
			t.Errorf("got %v", out)
		}
		well.Break(backendtest.Hang)
		a := c.fails("list-models", `{}`, "timeout", "no host has listed its models within 10s; try again", "doctor")
		if strings.Contains(a.Content[0].Text, "timeout_seconds") {
			t.Errorf("list-models has no such argument: %s", a.Content[0].Text)
		}
	})
}
