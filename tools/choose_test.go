package tools_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
)

// token is a token with its probability, and those of alternatives.
func token(text string, p float64, others map[string]float64) (l backend.Logprob) {
	l.Token, l.Logprob = text, math.Log(p)
	l.TopLogprobs = []backend.TokenLogprob{l.TokenLogprob}
	for other, p := range others {
		l.TopLogprobs = append(l.TopLogprobs, backend.TokenLogprob{Token: other, Logprob: math.Log(p)})
	}
	return l
}

func TestChooseTellsTheLabelAndHowSureTheModelIs(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").AnswerWith(func(call backendtest.Call) backendtest.Reply {
			best, other := "A", "B"
			if strings.Contains(call.Chat.Messages[1].Content, "B) praise") {
				best, other = other, best
			}
			return backendtest.Reply{Text: best, Logprobs: []backend.Logprob{token(best, 0.75, map[string]float64{other: 0.2})}}
		}))
		a := c.succeeds("choose", `{"model":"tiny","text":"Great!","labels":["complaint","praise"],"instructions":"Mind irony."}`)
		want := `{"label":"praise","confidence":0.75,"probabilities":[{"label":"praise","probability":0.789},{"label":"complaint","probability":0.211}],"model":"tiny"}`
		if a.Content[0].Text != want || a.Meta.Served["host"] != "gpu-1" {
			t.Errorf("got %s, want %s", a.Content[0].Text, want)
		}
		c.fails("choose", `{"model":"tiny","text":"?","labels":["a"]}`, "invalid_argument", "two labels or more")
		c.fails("choose", `{"model":"tiny","text":"?","labels":"a"}`, "invalid_argument", "labels")
	})
}

func TestLogprobsAreSummarisedAndTheWholeIsAResource(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who.Tenant = "ci"
		host := c.use(backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply {
			return backendtest.Reply{Text: "well yes", Logprobs: []backend.Logprob{token("well ", 0.9, nil), token("yes", 0.2, map[string]float64{"no": 0.7})}}
		}))
		for tool, args := range map[string]string{"generate": `"prompt":"?"`, "chat": `"messages":[{"role":"user","content":"?"}]`} {
			a := c.succeeds(tool, `{"model":"tiny",`+args+`,"top_logprobs":2}`)
			if a.Content[0].Text != "well yes" || len(a.Content) != 2 || !strings.Contains(a.Content[1].Text, `Logprobs of 2 tokens: mean -0.86, lowest -1.61 ("yes"), 1 below -1. All of them are at ollama://logprobs/`) {
				t.Errorf("%s: got %+v", tool, a.Content)
			}
			_, uri, _ := strings.Cut(a.Content[1].Text, "are at ")
			uri, _, _ = strings.Cut(uri, " ")
			var whole struct{ Logprobs []backend.Logprob }
			if text, err := c.read(uri); err != nil || json.Unmarshal([]byte(text), &whole) != nil || len(whole.Logprobs) != 2 || whole.Logprobs[1].TopLogprobs[1].Token != "no" {
				t.Errorf("%s: the resource is %s, %v", tool, text, err)
			}
			if a := c.succeeds(tool, `{"model":"tiny",`+args+`}`); len(a.Content) != 1 {
				t.Errorf("%s: without them got %+v", tool, a.Content)
			}
		}
		host.Answer("none")
		if a := c.succeeds("generate", `{"model":"tiny","prompt":"other","logprobs":true}`); !strings.Contains(fmt.Sprint(a.Content), "gpu-1 tells no logprobs") {
			t.Errorf("got %+v", a.Content)
		}
		c.fails("generate", `{"model":"tiny","prompt":"?","top_logprobs":21}`, "invalid_argument", "top_logprobs")
	})
}
