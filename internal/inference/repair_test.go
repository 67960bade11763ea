package inference_test

import (
	"fmt"
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
)

// thinker is a host whose model thinks before it answers, for 40 tokens.
func thinker() *backendtest.Host {
	return backendtest.New("gpu-1").AnswerWith(func(c backendtest.Call) backendtest.Reply {
		asked := c.Generate
		if asked.Think != nil && !asked.Think.Bool() {
			return backendtest.Reply{Text: "42"}
		}
		if budget, limited := asked.Options["num_predict"].(float64); limited && budget < 40 {
			return backendtest.Reply{Thinking: "let me see", DoneReason: "length"}
		}
		return backendtest.Reply{Thinking: "let me see", Text: "42"}
	})
}

func TestModelThatSpentAllTokensOnThinkingIsAskedAgain(t *testing.T) {
	for args, want := range map[string]string{
		`{"model":"tiny","prompt":"?","options":{"num_predict":10}}`:              "told not to think",
		`{"model":"tiny","prompt":"?","think":true,"options":{"num_predict":10}}`: "with num_predict 1024",
	} {
		story(t, func(t *testing.T, c *client) {
			host := c.use(thinker())
			a := c.succeeds("generate", args)
			if a.text != "42" || a.notes == "" || !strings.Contains(a.notes, want) {
				t.Errorf("%s: got %+v, want 42 and a note that it was asked again %s", args, a, want)
			}
			if n := len(host.Calls()); n != 2 {
				t.Errorf("%s: the host was asked %d times, want 2", args, n)
			}
		})
	}
}

func TestModelWithoutRoomToThinkLongerIsNotAskedAgain(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply {
			return backendtest.Reply{Thinking: "let me see", DoneReason: "length"} // the context is full
		}))
		a := c.succeeds("generate", `{"model":"tiny","prompt":"?","think":true}`)
		if n := len(host.Calls()); n != 1 || !strings.Contains(a.notes, "answer is empty: it spent all its") {
			t.Errorf("asked %d times, want once; %+v", n, a)
		}
	})
}

func TestErrorSaysThatThinkingLeftNoRoomForTheFormat(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply {
			return backendtest.Reply{Thinking: "let me see", DoneReason: "length"}
		}))
		a := c.fails("generate", `{"model":"tiny","prompt":"?","think":true,`+wantsNumber+`}`, "upstream",
			"the model's answer is empty: it spent all its 3 tokens on thinking; raise options.num_predict, or set think to false")
		if a.thinking != "let me see" || strings.Contains(a.text, "EOF") {
			t.Errorf("got %+v", a)
		}
	})
}

const wantsNumber = `"format":{"type":"object","properties":{"answer":{"type":"integer"}},"required":["answer"]}`

func TestAnswerThatMissesTheFormatIsRepairedOnce(t *testing.T) {
	for tool, question := range map[string]string{
		"generate": `"prompt":"how many?"`,
		"chat":     `"messages":[{"role":"user","content":"how many?"}]`,
	} {
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").AnswerWith(func(c backendtest.Call) backendtest.Reply {
				if strings.Contains(c.Prompt, "does not fit") {
					return backendtest.Reply{Text: `{"answer":42}`}
				}
				return backendtest.Reply{Text: `{"answer":"many"}`}
			}))
			a := c.succeeds(tool, `{"model":"tiny",`+question+`,`+wantsNumber+`}`)
			if fmt.Sprint(a.data["answer"]) != "42" || !strings.Contains(a.notes, "did not fit the format (at '/answer': got string, want integer)") {
				t.Errorf("%s: got %+v", tool, a)
			}
			calls := host.Calls()
			if len(calls) != 2 || !strings.Contains(calls[1].Prompt, "got string, want integer") {
				t.Fatalf("%s: %d calls; the second says %q", tool, len(calls), calls[len(calls)-1].Prompt)
			}
			if sent := string(calls[1].Body); !strings.Contains(sent, "many") || !strings.Contains(sent, "how many?") {
				t.Errorf("%s: the question or the faulty answer is missing in %s", tool, sent)
			}
		})
	}
}

func TestAnswerCutByLengthIsNotRepaired(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply {
			return backendtest.Reply{Text: `{"answer":`, DoneReason: "length"}
		}))
		c.fails("generate", `{"model":"tiny","prompt":"?",`+wantsNumber+`}`, "upstream", "raise options.num_predict")
		if n := len(host.Calls()); n != 1 {
			t.Errorf("asked %d times, want once: it would be cut again", n)
		}
	})
}

func TestFirstAnswerStandsIfItsRepairFails(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(thinker().FailWhen(func(c backendtest.Call) backendtest.Fault {
			if c.Generate.Think != nil {
				return backendtest.Refuse(500, "internal error")
			}
			return nil
		}))
		a := c.succeeds("generate", `{"model":"tiny","prompt":"?","options":{"num_predict":10}}`)
		if !strings.Contains(a.notes, "answer is empty: it spent all its") {
			t.Errorf("got %+v, want what the first answer was", a)
		}
	})
}
