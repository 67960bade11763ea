package inference_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
)

func TestThoughtsInTagsAreNoPartOfTheAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		says, args     string // args are behind the model
		reason         string
		text, thinking string
	}{
		"at the beginning":            {says: "<think>\nhm\n</think>\n\n42", text: "42", thinking: "hm"},
		"in capitals, behind spaces":  {says: " \n<Think>hm</THINK>42", text: "42", thinking: "hm"},
		"twice":                       {says: "<think>hm</think><thinking>so</thinking>42", text: "42", thinking: "hmso"},
		"in brackets":                 {says: "[THINK]hm[/THINK]42", text: "42", thinking: "hm"},
		"in special tokens":           {says: "<|begin_of_thought|>hm<|end_of_thought|>42", text: "42", thinking: "hm"},
		"none":                        {says: "<think></think>42", text: "42"},
		"cut while it thinks":         {says: "<think>hm", reason: "max_tokens", text: "", thinking: "hm"},
		"not closed":                  {says: "<think> is a tag", text: "<think> is a tag"},
		"later":                       {says: "The tag <think>hm</think> is one", text: "The tag <think>hm</think> is one"},
		"closing without opening":     {says: "hm</think>42", text: "hm</think>42"},
		"other tags":                  {says: "<b>hm</b>42", text: "<b>hm</b>42"},
		"tags that the request names": {says: "<reasoning>hm</reasoning>42", args: `"system":"put your <REASONING> into tags"`, text: "<reasoning>hm</reasoning>42"},
		"raw":                         {says: "<think>hm</think>42", args: `"raw":true`, text: "<think>hm</think>42"},
	} {
		story(t, func(t *testing.T, cl *client) {
			cl.use(backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply {
				return backendtest.Reply{Text: c.says, DoneReason: c.reason}
			}))
			args := `{"model":"tiny","prompt":"?","think":true`
			if c.args != "" {
				args += "," + c.args
			}
			a := cl.succeeds("generate", args+"}")
			if a.text != c.text || a.thinking != c.thinking {
				t.Errorf("%s: got %q, thinking %q, want %q, %q", name, a.text, a.thinking, c.text, c.thinking)
			}
		})
	}
}

func TestJSONIsFoundBeforeAnythingIsAskedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		says, want string // "" for an answer of which nothing fits
	}{
		"thoughts before it":         {"<think>{\"answer\": no</think>{\"answer\":4}", "4"},
		"thoughts without their tag": {"hm {\"answer\":3}?</think>\n{\"answer\":4}", "4"},
		"a fence":                    {"```json\n{\"answer\":4}\n```", "4"},
		"a fence without a language": {"```\n{\"answer\":4}```", "4"},
		"a fence on one line":        {"```json {\"answer\":4}```", "4"},
		"a fence that is not closed": {"```json\n{\"answer\":4}", "4"},
		"words around a fence":       {"Here you are:\n```json\n{\"answer\":4}\n```\nAnything else?", "4"},
		"thoughts, and a fence":      {"<think>hm</think>Here:\n```JSON\n{\"answer\":4}\n```", "4"},
		"two fences":                 {"```\n{\"answer\":3}\n```\nNo:\n```\n{\"answer\":4}\n```", "4"},
		"a fence that fits not":      {"```\n{\"answer\":4}\n```\n```\n{\"answer\":\"x\"}\n```", "4"},
		"words":                      {"The answer is {\"answer\":4}, I think.", "4"},
		"words with other braces":    {"In {braces}: {\"x\":1} {\"answer\":4}", "4"},
		"the same twice":             {"{\"answer\":4} and again {\"answer\":4}", "4"},
		"a byte order mark":          {"\ufeff{\"answer\":4}", "4"},
		"two that fit":               {"{\"answer\":3} or {\"answer\":4}", ""},
		"nothing":                    {"four", ""},
	} {
		story(t, func(t *testing.T, cl *client) {
			host := cl.use(backendtest.New("gpu-1").Answer(c.says))
			if c.want == "" {
				cl.fails("generate", `{"model":"tiny","prompt":"?",`+wantsNumber+`}`, "upstream", "does not fit the format")
				return
			}
			a := cl.succeeds("generate", `{"model":"tiny","prompt":"?",`+wantsNumber+`}`)
			if fmt.Sprint(a.data["answer"]) != c.want || a.notes != "" || a.text != `{"answer":4}` {
				t.Errorf("%s: got %+v", name, a)
			}
			if n := len(host.Calls()); n != 1 {
				t.Errorf("%s: the host was asked %d times, want once", name, n)
			}
		})
	}
}

func TestThoughtsInTagsAreNoPartOfAnAnswerThatIsCutByTime(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").Answer("<think>" + strings.Repeat("hm ", 99)).TokenTime(time.Second))
		a := c.fails("generate", `{"model":"tiny","prompt":"?","timeout_seconds":5}`, "timeout", "still thinking")
		if strings.Contains(a.partial, "hm") {
			t.Errorf("got %q as the answer", a.partial)
		}
	})
}
