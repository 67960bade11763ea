package inference_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
)

func TestThoughtsInTagsAreNoPartOfTheAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		says, args     string // args are behind the model
		reason         string
		text, thinking string
	}{
		"at the beginning":           {says: "<think>\nhm\n</think>\n\n42", text: "42", thinking: "hm"},
		"in capitals, behind spaces": {says: " \n<Think>hm</THINK>42", text: "42", thinking: "hm"},
		"twice":                      {says: "<think>hm</think><thinking>so</thinking>42", text: "42", thinking: "hmso"},
		"in brackets":                {says: "[THINK]hm[/THINK]42", text: "42", thinking: "hm"},
		"in special tokens":          {says: "<|begin_of_thought|>hm<|end_of_thought|>42", text: "42", thinking: "hm"},
		"none":                       {says: "<think></think>42", text: "42"},
		"cut while it thinks":        {says: "<think>hm", reason: "max_tokens", text: "", thinking: "hm"},
		"not closed":                 {says: "<think> is a tag", text: "<think> is a tag"},
		"later":                      {says: "The tag <think>hm</think> is one", text: "The tag <think>hm</think> is one"},
		"attributes":                 {says: "<think time=\"3\">hm</think>42", text: "42", thinking: "hm"},
		"tokens around both":         {says: "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>42<|END_RESPONSE|>", text: "42", thinking: "hm"},
		"tokens around the answer":   {says: "<|begin_of_solution|>\n42\n<|end_of_solution|>", text: "42"},
		"tokens, cut":                {says: "<|START_RESPONSE|>4", reason: "length", text: "4"},
		"one bracket in the tag":     {says: "<|channel>thought\nhm<channel|>42", text: "42", thinking: "hm"},

		"closing without opening":                                      {says: "hm</think>42", text: "42", thinking: "hm"},
		"closing on its line":                                          {says: "hm\nso 42\n</think>\n\n42", text: "42", thinking: "hm\nso 42"},
		"closing at the end of a line":                                 {says: "hm, so 42.</think>\n42", text: "42", thinking: "hm, so 42."},
		"closing behind a sentence":                                    {says: "It is 42. [/THINK] 42", text: "42", thinking: "It is 42."},
		"closing that begins":                                          {says: "</think>\n42", text: "42"},
		"closing that is spoken of":                                    {says: "The tag </think> ends thoughts", text: "The tag </think> ends thoughts"},
		"closing in a quotation":                                       {says: "Write \"</think>\" at the end.", text: "Write \"</think>\" at the end."},
		"closing in code":                                              {says: "Use `</think>`:\n```\nhm\n</think>\n```\n", text: "Use `</think>`:\n```\nhm\n</think>\n```\n"},
		"closing with nothing behind":                                  {says: "hm\n</think>\n", text: "hm\n</think>\n"},
		"closing that the request names":                               {says: "hm</think>42", args: `"system":"end with </think>"`, text: "hm</think>42"},
		"closing behind its opening":                                   {says: "So <think> it is </think>\n42", text: "So <think> it is </think>\n42"},
		"closing of an answer to a prompt that ended with the opening": {says: "hm\n</think>\n42", args: `"raw":true`, text: "hm\n</think>\n42"},

		"channels":                        {says: "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>42<|return|>", text: "42", thinking: "hm"},
		"channels from the start":         {says: "<|start|>assistant<|channel|>analysis<|message|>hm<|end|>\n<|start|>assistant<|channel|>final <|constrain|>json<|message|>42", text: "42", thinking: "hm"},
		"channels without ends":           {says: "<|channel|>analysis<|message|>hm<|channel|>final<|message|>42", text: "42", thinking: "hm"},
		"channels, one alone":             {says: "<|channel|>final<|message|>42<|end|>", text: "42"},
		"channels, twice thoughts":        {says: "<|channel|>analysis<|message|>hm<|end|><|channel|>analysis<|message|>so<|end|><|channel|>final<|message|>42", text: "42", thinking: "hm\nso"},
		"channels, a word before":         {says: "<|channel|>commentary<|message|>Wait.<|end|><|channel|>final<|message|>42", text: "Wait.\n\n42"},
		"channels, cut in the thoughts":   {says: "<|channel|>analysis<|message|>hm", reason: "length", thinking: "hm"},
		"channels, cut in a header":       {says: "<|channel|>analysis<|message|>hm<|end|><|start|>assist", reason: "length", thinking: "hm"},
		"channels begun by the prompt":    {says: "analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>42", text: "42", thinking: "hm"},
		"thoughts begun by the prompt":    {says: "hm<|end|><|start|>assistant<|channel|>final<|message|>42", text: "42", thinking: "hm"},
		"channels without their tokens":   {says: "analysisThey ask. It is 42.assistantfinal42", text: "42", thinking: "They ask. It is 42."},
		"a word that such channels have":  {says: "analysis of 42", text: "analysis of 42"},
		"such a word, cut":                {says: "Analysis of 4", reason: "length", text: "Analysis of 4"},
		"channels that the request names": {says: "<|channel|>final<|message|>42", args: `"system":"write <|channel|>final"`, text: "<|channel|>final<|message|>42"},
		"a call of a tool not offered":    {says: "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.f<|message|>{}<|call|>", text: "<|start|>assistant<|channel|>commentary to=functions.f<|message|>{}", thinking: "hm"},
		"tokens that are spoken of":       {says: "A message begins with <|message|>.", text: "A message begins with <|message|>."},
		"other tags":                      {says: "<b>hm</b>42", text: "<b>hm</b>42"},
		"tags that the request names":     {says: "<reasoning>hm</reasoning>42", args: `"system":"put your <REASONING> into tags"`, text: "<reasoning>hm</reasoning>42"},
		"raw":                             {says: "<think>hm</think>42", args: `"raw":true`, text: "<think>hm</think>42"},
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

func TestCallInAChannelIsAToolCall(t *testing.T) {
	story(t, func(t *testing.T, cl *client) {
		cl.use(backendtest.New("gpu-1").Answer("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.add <|constrain|>json<|message|>{\"a\":12345678901234567890}<|call|>"))
		a := cl.succeeds("chat", `{"model":"tiny","messages":[{"role":"user","content":"?"}],"tools":[{"type":"function","function":{"name":"add","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}}]}`)
		calls, _ := a.data["tool_calls"].([]backend.ToolCall)
		if len(calls) != 1 || calls[0].Function.Name != "add" || string(calls[0].Function.Arguments) != `{"a":12345678901234567890}` || a.text != "" {
			t.Errorf("got %+v, %+v", calls, a)
		}
	})
}

// TestModelThatThinksInItsTextWithoutEndIsStoppedToo has thoughts that the host has not told
// apart from the answer.
func TestModelThatThinksInItsTextWithoutEndIsStoppedToo(t *testing.T) {
	for _, opening := range []string{"<think>", "<|channel|>analysis<|message|>", "[THINK]"} {
		story(t, func(t *testing.T, c *client) {
			host := backendtest.New("gpu-1").TokenTime(time.Second).Install(backendtest.Model{Name: "big"})
			host.AnswerWith(func(call backendtest.Call) backendtest.Reply {
				if think := call.Generate.Think; think != nil && !think.Bool() {
					return backendtest.Reply{Text: "42"}
				}
				return backendtest.Reply{Text: opening + strings.Repeat(" hm", 999)}
			})
			c.use(host)
			a := c.succeeds("generate", `{"model":"big","prompt":"?"}`)
			if a.text != "42" || !strings.Contains(a.notes, "told not to think") || len(host.Calls()) != 2 {
				t.Errorf("%s: got %+v after %d calls", opening, a, len(host.Calls()))
			}
		})
	}
	story(t, func(t *testing.T, c *client) { // an answer has begun
		host := c.use(backendtest.New("gpu-1").TokenTime(time.Second).Answer("<think> hm </think> 42" + strings.Repeat(" so", 40)))
		if a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`); !strings.HasPrefix(a.text, "42") || len(host.Calls()) != 1 {
			t.Errorf("got %+v after %d calls", a, len(host.Calls()))
		}
	})
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
