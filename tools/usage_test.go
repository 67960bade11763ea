package tools_test

import (
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/usage"
)

func TestUsageShowsOnesOwnAndAdministratorsAll(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		counted := usage.New(usage.Options{})
		c.usage, c.opts.Observer, c.opts.Admit = counted, counted, counted.Admit
		c.use(backendtest.New("gpu-1").Answer("one two three"))
		ask := func(who caller.Caller, prompt string) {
			c.as(who).succeeds("generate", `{"model":"tiny","prompt":"`+prompt+`"}`)
		}
		ask(caller.Caller{ID: "ci", Limits: caller.Limits{CallsPerDay: 2, TokensPerDay: 1000}}, "a")
		ask(caller.Caller{ID: "web"}, "b")
		mine := c.as(caller.Caller{ID: "ci", Limits: caller.Limits{CallsPerDay: 2, TokensPerDay: 1000}}).succeeds("usage", `{}`)
		text := mine.Content[0].Text
		if !strings.Contains(text, `"models":[{"model":"tiny:latest","source":"local","calls":1,`) || strings.Contains(text, "web") ||
			!strings.Contains(text, `"budget":{"calls":1,"calls_per_day":2,"tokens":4,"tokens_per_day":1000}`) || !strings.Contains(text, `"days":[{"day":"2000-01-01","calls":1,`) {
			t.Errorf("one's own: %s", text)
		}
		all := c.as(caller.Caller{ID: "boss", Admin: true}).succeeds("usage", `{"days":1}`).Content[0].Text
		if !strings.Contains(all, `"caller":"ci"`) || !strings.Contains(all, `"caller":"web"`) || strings.Contains(all, "budget") {
			t.Errorf("an administrator's: %s", all)
		}
		limited := caller.Caller{ID: "ci", Limits: caller.Limits{CallsPerDay: 1}}
		c.as(limited).fails("generate", `{"model":"tiny","prompt":"c"}`, "rate_limited", "daily budget of 1 calls", "00:00 UTC")
		c.as(limited).succeeds("list-models", `{}`) // which asks no model
		c.as(limited).fails("usage", `{"days":0}`, "invalid_argument", "days")
	})
}
