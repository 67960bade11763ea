package inference_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/pool"
)

// ponders makes a host that has models big, which thinks for so many tokens of a second each
// before it answers, and small, which does not think. Big may ignore that it is not to think.
func (c *client) ponders(tokens int, ignores bool) *backendtest.Host {
	c.t.Helper()
	host := backendtest.New("gpu-1").TokenTime(time.Second).Install(backendtest.Model{Name: "big"}, backendtest.Model{Name: "small"})
	host.AnswerWith(func(call backendtest.Call) backendtest.Reply {
		var think *backend.ThinkValue
		if call.Generate != nil {
			think = call.Generate.Think
		} else {
			think = call.Chat.Think
		}
		if strings.HasPrefix(call.Model, "small") {
			return backendtest.Reply{Text: "7"}
		}
		if !ignores && think != nil && !think.Bool() {
			return backendtest.Reply{Text: "42"}
		}
		return backendtest.Reply{Thinking: strings.TrimSpace(strings.Repeat("hm ", tokens)), Text: "43"}
	})
	c.useAll(pool.Options{Slots: 2}, host)
	return host
}

func TestModelThatOnlyThinksIsStoppedWhileThereIsTime(t *testing.T) {
	const forever = 1000
	for _, tc := range []struct {
		name    string
		tokens  int
		ignores bool
		args    string
		want    string // the text, or a code
		says    string
		calls   int // of big
	}{
		{"left to the model", forever, false, ``, "42", "told not to think", 2},
		{"with a large num_predict", forever, false, `,"options":{"num_predict":100000}`, "42", "told not to think", 2},
		{"thoughts asked for", forever, false, `,"think":true`, "timeout", "still thinking", 1},
		{"thoughts asked for, and another model", forever, false, `,"think":true,"fallback_models":["small"]`, "7", "instead of big (still thinking after", 1},
		{"left to the model, and another model", forever, false, `,"fallback_models":["small"]`, "42", "told not to think", 2},
		{"not to be told", forever, true, ``, "timeout", "still thinking", 2},
		{"not to be told, and another model", forever, true, `,"fallback_models":["small"]`, "7", "instead of big (still thinking after", 2},
		{"told not to by the caller, in vain", forever, true, `,"think":false,"fallback_models":["small"]`, "7", "instead of big (still thinking after", 1},
		{"long, and in time", 15, false, ``, "43", "", 1},
		{"long, and without a limit that matters", 60, false, `,"timeout_seconds":600`, "43", "", 1},
	} {
		for kind, asks := range map[string]string{"generate": `"prompt":"?"`, "chat": `"messages":[{"role":"user","content":"?"}]`} {
			story(t, func(t *testing.T, c *client) {
				host := c.ponders(tc.tokens, tc.ignores)
				limit := ""
				if !strings.Contains(tc.args, "timeout_seconds") {
					limit = `,"timeout_seconds":30`
				}
				a := c.call(t.Context(), kind, `{"model":"big",`+asks+limit+tc.args+`}`)
				got := a.text
				if a.err != nil {
					got = a.code()
				}
				if got != tc.want || !strings.Contains(fmt.Sprint(a), tc.says) || tc.says == "" && a.notes != "" {
					t.Errorf("%s: %s: got %v, want %s and %q", tc.name, kind, a, tc.want, tc.says)
				}
				if n := len(askedOf(host, "big")); n != tc.calls {
					t.Errorf("%s: %s: big was asked %d times, want %d", tc.name, kind, n, tc.calls)
				}
				if breaker := c.breakerOf("gpu-1"); breaker != "closed" || c.status().Ladders != nil {
					t.Errorf("%s: the breaker is %s, ladders %v", tc.name, breaker, c.status().Ladders)
				}
			})
		}
	}
}
