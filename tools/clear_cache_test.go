package tools_test

import (
	"testing"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
)

func TestAdministratorClearsTheCache(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "other"}))
		for _, model := range []string{"tiny", "other"} {
			c.succeeds("generate", `{"model":"`+model+`","prompt":"?"}`)
		}
		c.fails("clear-cache", `{}`, "forbidden", "admin")
		admin := c.as(caller.Caller{Admin: true})
		for args, want := range map[string]float64{`{"model":"other:latest"}`: 1, `{"model":"unheard-of"}`: 0} {
			if got := admin.succeeds("clear-cache", args).StructuredContent["removed"]; got != want {
				t.Errorf("%s: %v removed, want %v", args, got, want)
			}
		}
		c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
		c.succeeds("generate", `{"model":"other","prompt":"?"}`)
		if n := len(host.Calls()); n != 3 {
			t.Errorf("%d calls, want 3: the answer of other was to be forgotten, and that of tiny was not", n)
		}
		s := c.succeeds("status", `{}`).StructuredContent["cache"].(map[string]any)
		if s["hits"] != 1.0 || s["misses"] != 3.0 || s["entries"] != 2.0 {
			t.Errorf("status: %v", s)
		}
	})
}
