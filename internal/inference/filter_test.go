package inference_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/moderation"
)

// filtering has answers held against rules.
func (c *client) filtering(guard *moderation.Guard, rules ...moderation.Rule) (settings *inference.Settings) {
	c.t.Helper()
	f, err := moderation.NewFilter(rules, guard)
	if err != nil {
		c.t.Fatal(err)
	}
	settings = &inference.Settings{Filter: f}
	c.opts.Settings = func() *inference.Settings { return settings }
	return settings
}

var (
	noKeys   = moderation.Rule{Name: "keys", Pattern: `sk-[a-z0-9]{8,}`}
	noNumber = moderation.Rule{Name: "phone", Pattern: `\b\d{6,}\b`, Replacement: "<number>"}
	noBombs  = moderation.Rule{Name: "bombs", Pattern: `(?i)bomb`, Refuse: true}
)

func TestFilterRulesRemoveAndRefuse(t *testing.T) {
	for says, want := range map[string]struct{ text, filtered string }{
		"all is well":                   {"all is well", ""},
		"use sk-abcd1234, call 5551234": {"use [removed], call <number>", "keys, phone"},
		"sk-\u2066abcd1234":             {"[removed]", "keys"}, // what no reader sees is no way around
		"a BOMB":                        {"", "bombs"},
	} {
		story(t, func(t *testing.T, c *client) {
			c.filtering(nil, noKeys, noNumber, noBombs)
			c.use(backendtest.New("gpu-1").Answer(says))
			if want.text == "" {
				a := c.fails("generate", `{"model":"tiny","prompt":"?"}`, "refused", want.filtered)
				if strings.Contains(fmt.Sprint(a), "BOMB") {
					t.Errorf("%q: it leaves with the error: %+v", says, a)
				}
				return
			}
			a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
			if a.text != want.text || strings.Join(a.served.Filtered, ", ") != want.filtered {
				t.Errorf("%q: got %+v, want %+v", says, a, want)
			}
			if noted := a.notes != ""; noted != (want.filtered != "") || noted && !strings.Contains(a.notes, "removed parts of the answer: "+want.filtered) {
				t.Errorf("%q: the reader is told %+v", says, a)
			}
		})
	}
}

func TestFilterRulesHoldForEveryPartOfAResponse(t *testing.T) {
	const secret = "sk-abcd1234"
	var call backend.ToolCall
	call.Function.Name = "send"
	call.Function.Arguments = json.RawMessage(`{"body":{"list":["the key is ` + secret + `"]}}`)
	const asks, askChat = `{"model":"tiny","prompt":"?"`, `{"model":"tiny","messages":[{"role":"user","content":"?"}]`
	for name, c2 := range map[string]struct {
		reply      backendtest.Reply
		fault      backendtest.Fault
		slow       bool
		tool, args string
		code       string // "" for an answer
	}{
		"thoughts":               {reply: backendtest.Reply{Thinking: secret + " is it", Text: "42"}, tool: "generate", args: asks + `,"think":true}`},
		"arguments of tools":     {reply: backendtest.Reply{ToolCalls: []backend.ToolCall{call}}, tool: "chat", args: askChat + `}`},
		"structured content":     {reply: backendtest.Reply{Text: `{"a":["` + secret + `"]}`}, tool: "generate", args: asks + `,"format":"json"}`},
		"the name of a field":    {reply: backendtest.Reply{Text: `{"` + secret + `":1}`}, tool: "generate", args: asks + `,"format":"json"}`, code: "refused"},
		"an answer cut by time":  {reply: backendtest.Reply{Text: secret + strings.Repeat(" word", 99)}, slow: true, tool: "generate", args: asks + `,"timeout_seconds":5}`},
		"what came before a cut": {reply: backendtest.Reply{Text: secret + " and more"}, fault: backendtest.Cut(1), tool: "generate", args: asks + `}`, code: "upstream"},
		"an answer that misfits": {reply: backendtest.Reply{Text: secret}, tool: "generate", args: asks + `,"format":"json"}`, code: "upstream"},
	} {
		story(t, func(t *testing.T, c *client) {
			c.filtering(nil, noKeys)
			host := backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply { return c2.reply })
			if c2.fault != nil {
				host.FailWhen(func(backendtest.Call) backendtest.Fault { return c2.fault })
			}
			if c2.slow {
				host.TokenTime(time.Second)
			}
			c.use(host)
			a := c.call(t.Context(), c2.tool, c2.args)
			if a.code() != c2.code {
				t.Errorf("%s: got %+v, want the code %q", name, a, c2.code)
			}
			if told := fmt.Sprint(a); strings.Contains(told, secret) || c2.code != "refused" && !strings.Contains(told, "[removed]") {
				t.Errorf("%s: got %+v, want it without the key", name, a)
			}
		})
	}
}

func TestChangedFilterRulesHoldForCachedAnswers(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		settings := c.filtering(nil)
		host := c.use(backendtest.New("gpu-1").Answer("use sk-abcd1234"))
		ask := func() string { return c.succeeds("generate", `{"model":"tiny","prompt":"?"}`).text }
		if got := ask(); got != "use sk-abcd1234" {
			t.Errorf("without rules: %q", got)
		}
		*settings = *c.filtering(nil, noKeys)
		if got := ask(); got != "use [removed]" || len(host.Calls()) != 1 {
			t.Errorf("with a rule: %q after %d calls", got, len(host.Calls()))
		}
	})
}

// guarded makes the guard let everything pass that does not hold the word no.
func guarded(c backendtest.Call) backendtest.Reply {
	if c.Model != "judge:latest" {
		return backendtest.Reply{Text: c.Prompt}
	}
	return backendtest.Reply{Text: fmt.Sprintf(`{"pass":%v}`, !strings.Contains(c.Prompt, "no"))}
}

func TestNoAnswerPassesWithoutTheGuard(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.filtering(&moderation.Guard{Model: "judge", Prompt: "Is this harmless?"}, noKeys)
		host := c.use(backendtest.New("gpu-1").AnswerWith(guarded).Install(backendtest.Model{Name: "judge"}))
		ci := c.as(caller.Caller{ID: "ci", Models: []string{"tiny:latest"}})
		ask := func(prompt string) answer {
			return ci.call(t.Context(), "generate", `{"model":"tiny","prompt":"`+prompt+`"}`)
		}
		if a := ask("yes sk-abcd1234"); a.err != nil || a.text != "yes [removed]" {
			t.Errorf("got %+v, want that it passes", a)
		}
		asked := host.Calls()[1].Chat
		if asked.Messages[0].Content != "Is this harmless?" || asked.Messages[1].Content != "yes [removed]" {
			t.Errorf("the guard was asked %+v", asked.Messages)
		}
		if a := ask("no"); a.code() != "refused" || a.notes != "" {
			t.Errorf("got %+v, want that it is withheld", a)
		}
		host.Remove("judge")
		if a := ask("yes"); a.code() != "refused" || !strings.Contains(a.text, "cannot be asked") {
			t.Errorf("without the guard: %+v", a)
		}
	})
}

func TestGuardEndsWithItsRequest(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.filtering(&moderation.Guard{Model: "judge", Prompt: "?"})
		host := c.use(backendtest.New("gpu-1").AnswerWith(guarded).Install(backendtest.Model{Name: "judge"}))
		failing(host, backendtest.Hang, "judge")
		began := time.Now()
		c.fails("generate", `{"model":"tiny","prompt":"yes","timeout_seconds":5}`, "refused", "cannot be asked")
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("the time limit: took %v", took)
		}
		leaves, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		if a := c.call(leaves, "generate", `{"model":"tiny","prompt":"yes"}`); a.code() != "cancelled" {
			t.Errorf("cancelled: got %+v", a)
		}
	})
}
