package tools_test

import (
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/pool"
)

func TestPromptFarBeyondAKnownContextIsNotSent(t *testing.T) {
	long := strings.Repeat("word ", 1000) // 1,250 tokens to a host of ours
	for _, c := range []struct {
		name, guard, args string
		sent              int
	}{
		{"asked for", "", `,"options":{"num_ctx":500}`, 0},
		{"not clearly beyond", "", `,"options":{"num_ctx":900}`, 1},
		{"not known", "", ``, 1},
		{"it may be cut", "", `,"options":{"num_ctx":500},"truncate":true`, 2},
		{"the guard warns", "warn", `,"options":{"num_ctx":500}`, 2},
		{"the guard is off", "off", `,"options":{"num_ctx":500}`, 1},
	} {
		story(t, func(t *testing.T, c2 *client) {
			c2.deps.ContextGuard = c.guard
			host := c2.use(backendtest.New("gpu-1").Answer("yes").Install(backendtest.Model{Name: "big", Context: 4096}))
			a := c2.call(t.Context(), "generate", `{"model":"big","prompt":"`+long+`"`+c.args+`}`)
			if n := len(host.Calls()); n != c.sent {
				t.Errorf("%s: sent %d times, want %d: %+v", c.name, n, c.sent, a)
			}
			if c.sent == 0 && (a.StructuredContent["code"] != "context_too_long" || !strings.Contains(a.Content[0].Text, "the prompt has about 1250 tokens, and the context 500")) {
				t.Errorf("%s: got %+v", c.name, a)
			}
		})
	}
}

func TestPromptFarBeyondAPinnedContextGoesToTheNextRungUnsent(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, _ := c.ladder()
		c.useAll(pool.Options{Slots: 1, Runner: map[string]map[string]any{"big:latest": {"num_ctx": 256}}}, host)
		a := c.succeeds("generate", `{"model":"pro","prompt":"`+strings.Repeat("word ", 1000)+`"}`)
		if a.Meta.Served["model"] != "small" || !strings.Contains(a.Content[1].Text, "and the context 256") {
			t.Errorf("got %+v", a)
		}
		if calls := host.Calls(); len(calls) != 1 || calls[0].Model != "small:latest" {
			t.Errorf("asked were %+v, want small alone", calls)
		}
	})
}
