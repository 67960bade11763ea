package inference_test

import (
	"encoding/json"
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
)

// thinkOf is the think of a request, as JSON; "" for none.
func thinkOf(c backendtest.Call) string {
	var sent struct{ Think json.RawMessage }
	_ = json.Unmarshal(c.Body, &sent)
	return string(sent.Think)
}

func TestLevelOfThinkingThatAHostDoesNotKnowIsLoweredAndThatIsSaid(t *testing.T) {
	const chat = `{"model":"tiny","messages":[{"role":"user","content":"?"}],"think":`
	for name, tc := range map[string]struct {
		refused map[string]string // by the think that is refused
		asked   string
		sent    []string
		note    string
	}{
		"a host that knows it": {nil, `"max"`, []string{`"max"`}, ""},
		"an older host": {
			map[string]string{`"max"`: `invalid think value: "max" (must be "high", "medium", "low", true, or false)`},
			`"max"`,
			[]string{`"max"`, `"high"`},
			`does not know think "max" for this model, so it was asked with "high".`,
		},
		"a model without levels": {
			map[string]string{`"max"`: `think value "max" is not supported for this model`, `"high"`: `think value "high" is not supported for this model`},
			`"max"`,
			[]string{`"max"`, `"high"`, `true`},
			`so it was asked with true.`,
		},
		"another level": {
			map[string]string{`"low"`: `think value "low" is not supported for this model`}, `"low"`, []string{`"low"`, `true`}, `think "low" for this model`,
		},
	} {
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").Answer("yes").FailWhen(func(call backendtest.Call) backendtest.Fault {
				if said, ok := tc.refused[thinkOf(call)]; ok {
					return backendtest.Refuse(400, said)
				}
				return nil
			}))
			a := c.succeeds("chat", chat+tc.asked+`}`)
			var sent []string
			for _, call := range host.Calls() {
				sent = append(sent, thinkOf(call))
			}
			if strings.Join(sent, " ") != strings.Join(tc.sent, " ") || !strings.Contains(a.notes, tc.note) || tc.note == "" && a.notes != "" {
				t.Errorf("%s: sent %v, notes %q; want %v, %q", name, sent, a.notes, tc.sent, tc.note)
			}
		})
	}
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Fail(9, backendtest.Refuse(400, `"tiny" does not support thinking`)))
		c.fails("chat", chat+`"max"}`, "invalid_argument", "does not support thinking")
		if n := len(host.Calls()); n != 1 {
			t.Errorf("a model that cannot think was asked %d times", n)
		}
	})
}

// Ollama holds a generated text to its format from the first token on.
func TestTextInAFormatIsGeneratedWithoutThoughtsOrAsAChatWithThem(t *testing.T) {
	const generate = `{"model":"tiny","prompt":"?","system":"be brief","format":"json"`
	for args, want := range map[string]struct{ path, think string }{
		generate + `}`:                  {"/api/generate", "false"},
		generate + `,"think":false}`:    {"/api/generate", "false"},
		generate + `,"think":true}`:     {"/api/chat", "true"},
		generate + `,"think":"low"}`:    {"/api/chat", `"low"`},
		`{"model":"tiny","prompt":"?"}`: {"/api/generate", ""},
	} {
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").Answer(`{"n":4}`))
			c.succeeds("generate", args)
			call := host.Calls()[0]
			if call.Path != want.path || thinkOf(call) != want.think {
				t.Errorf("%s: sent to %s with think %s, want %s with %s", args, call.Path, thinkOf(call), want.path, want.think)
			}
			if call.Chat != nil && (len(call.Chat.Messages) != 2 || call.Chat.Messages[0].Content != "be brief" || string(call.Chat.Format) != `"json"`) {
				t.Errorf("%s: sent %s", args, call.Body)
			}
		})
	}
}

// A repair asks for what the host has accepted, and not for what it has refused.
func TestRepairAsksForTheLevelOfThinkingThatTheHostHasAccepted(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").AnswerWith(func(call backendtest.Call) backendtest.Reply {
			if strings.Contains(call.Prompt, "does not fit") {
				return backendtest.Reply{Text: `{"answer":42}`}
			}
			return backendtest.Reply{Text: `{"answer":"many"}`}
		}).FailWhen(func(call backendtest.Call) backendtest.Fault {
			if thinkOf(call) == `"max"` {
				return backendtest.Refuse(400, `invalid think value: "max" (must be "high", "medium", "low", true, or false)`)
			}
			return nil
		}))
		a := c.succeeds("chat", `{"model":"tiny","messages":[{"role":"user","content":"how many?"}],"think":"max",`+wantsNumber+`}`)
		var sent []string
		for _, call := range host.Calls() {
			sent = append(sent, thinkOf(call))
		}
		if strings.Join(sent, " ") != `"max" "high" "high"` || !strings.Contains(a.notes, `so it was asked with "high"`) {
			t.Errorf("sent %v, with the notes %q", sent, a.notes)
		}
	})
}
