package tools_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
)

// hosts are the ways in which MCP hosts show a result to their model.
var hosts = map[string]func(answer) string{
	"structured content, if there is any": func(a answer) string {
		if a.StructuredContent != nil {
			return jsonOf(a.StructuredContent)
		}
		return joined(a, "\n")
	},
	"structured content, but the text of errors": func(a answer) string {
		if a.StructuredContent != nil && !a.IsError {
			return jsonOf(a.StructuredContent)
		}
		return joined(a, "\n")
	},
	"blocks, each by itself":     func(a answer) string { return joined(a, "\n") },
	"blocks, joined":             func(a answer) string { return joined(a, "") },
	firstOnly:                    func(a answer) string { return a.Content[0].Text },
	"the whole result, as it is": func(a answer) string { return joined(a, "\n") + jsonOf(a.StructuredContent) },
}

const firstOnly = "the first block alone"

func joined(a answer, by string) string {
	var texts []string
	for _, block := range a.Content {
		texts = append(texts, block.Text)
	}
	return strings.Join(texts, by)
}

func jsonOf(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// shown is what must be seen of a result, whatever a host shows.
type shown struct {
	facts []string
	notes []string // of a text: the first block is the text and nothing else
	json  bool     // the blocks, joined, are JSON
}

func (want shown) check(t *testing.T, name string, a answer) {
	t.Helper()
	for host, show := range hosts {
		got := strings.ReplaceAll(show(a), `\"`, `"`)
		facts := want.facts
		if host != firstOnly {
			facts = append(facts[:len(facts):len(facts)], want.notes...)
		}
		for _, fact := range facts {
			if !strings.Contains(got, fact) {
				t.Errorf("%s, to a host that shows %s: %q is not in %s", name, host, fact, got)
			}
		}
	}
	if got := joined(a, ""); json.Valid([]byte(got)) != want.json {
		t.Errorf("%s: joined, the blocks are %s; is it to be JSON: %v", name, got, want.json)
	}
	for i, block := range a.Content {
		if block.Type != "text" {
			t.Errorf("%s: block %d is of type %s, which ends the run of some agents", name, i, block.Type)
		}
		if i > 0 && !a.IsError && !strings.HasPrefix(block.Text, "\n\nNote: ") {
			t.Errorf("%s: block %d begins with no blank line: %q", name, i, block.Text)
		}
	}
}

const answerFormat = `"format":{"type":"object","properties":{"answer":{"type":"integer"}},"required":["answer"]}`

func TestEachHalfOfAnAnswerIsEnough(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("quick brown fox"))
		const hello = `{"model":"tiny","prompt":"hello"}`
		shown{facts: []string{"quick brown fox"}}.check(t, "generate", c.succeeds("generate", hello))
		time.Sleep(7 * time.Second)
		shown{facts: []string{"quick brown fox"}, notes: []string{"cached answer, 7 s old", "refresh"}}.check(t, "cached", c.succeeds("generate", hello))
		shown{facts: []string{"quick brown fox"}}.check(t, "chat", c.succeeds("chat", `{"model":"tiny","messages":[{"role":"user","content":"hi"}]}`))
		shown{facts: []string{"quick brown"}, notes: []string{"cut after 2 tokens", "num_predict"}}.
			check(t, "cut", c.succeeds("generate", `{"model":"tiny","prompt":"cut","options":{"num_predict":2}}`))
		shown{facts: []string{"quick brown fox"}, notes: []string{"Ignored", "toolCallId, stream"}}.
			check(t, "added by a host", c.succeeds("generate", `{"model":"tiny","prompt":"n8n","toolCallId":"x","stream":false}`))

		host.FirstTokenTime(5 * time.Second)
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				shown{facts: []string{"quick brown fox"}}.check(t, "shared", c.succeeds("generate", `{"model":"tiny","prompt":"together","options":{"temperature":0}}`))
			})
		}
		both.Wait()

		host.AnswerWith(func(backendtest.Call) backendtest.Reply { return backendtest.Reply{Thinking: "let me see", Text: "42"} })
		a := c.succeeds("generate", `{"model":"tiny","prompt":"?","think":true}`)
		shown{facts: []string{"42"}, json: true}.check(t, "thinking", a)
		if a.Meta.Thinking != "let me see" {
			t.Errorf("thinking: got %q in the metadata", a.Meta.Thinking)
		}
	})
}

func TestEachHalfOfAnAnswerOfAnotherModelIsEnough(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").Answer(`{"answer":42}`).Install(backendtest.Model{Name: "big"}, backendtest.Model{Name: "small"})).
			FailWhen(func(call backendtest.Call) backendtest.Fault {
				if call.Model == "big:latest" {
					return backendtest.Refuse(500, "it does not run")
				}
				return nil
			})
		const args = `{"model":"big","prompt":"?","fallback_models":["small"],` + answerFormat + `}`
		want := shown{facts: []string{`"answer":42`}, notes: []string{"Answered by small instead of big"}}
		want.check(t, "ladder, format", c.succeeds("generate", args))
		want.check(t, "ladder", c.succeeds("generate", strings.Replace(args, answerFormat, `"raw":false`, 1)))
	})
}

func TestEachHalfOfToolCallsIsEnough(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1"))
		for _, text := range []string{"", "Let me look."} {
			host.AnswerWith(func(backendtest.Call) backendtest.Reply {
				var call backend.ToolCall
				call.Function.Name = "weather"
				call.Function.Arguments = json.RawMessage(`{"city":1234567890123456789}`)
				return backendtest.Reply{Text: text, ToolCalls: []backend.ToolCall{call}}
			})
			a := c.succeeds("chat", `{"model":"tiny","sessionId":"s","messages":[{"role":"user","content":"?"}],"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}]}`)
			shown{facts: []string{"weather", "city", text, "Ignored", "sessionId"}, json: true}.check(t, "tool calls", a)
			if !strings.Contains(a.Content[0].Text, `"city":1234567890123456789`) {
				t.Errorf("digits are lost: %s", a.Content[0].Text)
			}
			if got := a.StructuredContent["text"]; text != "" && got != text {
				t.Errorf("got the text %v beside the calls, want %q", got, text)
			}
		}
	})
}

func TestEachHalfOfAnAnswerInAFormatIsEnough(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer(`{"answer":42}`))
		const args = `{"model":"tiny","prompt":"?",` + answerFormat + `}`
		for _, name := range []string{"format", "format, cached"} {
			a := c.succeeds("generate", args)
			shown{facts: []string{`"answer":42`}, json: true}.check(t, name, a)
			if a.StructuredContent["answer"] != 42.0 || len(a.StructuredContent) != 1 {
				t.Errorf("%s: got the structured content %v", name, a.StructuredContent)
			}
			time.Sleep(time.Second)
		}
		a := c.succeeds("generate", `{"model":"tiny","prompt":"n8n","sessionId":"s",`+answerFormat+`}`)
		shown{facts: []string{`"answer":42`}, json: true}.check(t, "format, added by a host", a)
		if notes := fmt.Sprint(a.Meta.Notes); !strings.Contains(notes, "sessionId") {
			t.Errorf("got the notes %s in the metadata, want the ignored argument", notes)
		}
		host.AnswerWith(func(backendtest.Call) backendtest.Reply {
			return backendtest.Reply{Text: `{"answer":42}`, DoneReason: "length"}
		})
		a = c.succeeds("generate", `{"model":"tiny","prompt":"cut",`+answerFormat+`}`)
		shown{facts: []string{`"answer":42`}, notes: []string{"cut after"}}.check(t, "format with a note", a)
		if a.StructuredContent != nil {
			t.Errorf("with a note: got the structured content %v, which lacks the note", a.StructuredContent)
		}
	})
}

func TestEachHalfOfVectorsIsEnough(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 2}))
		a := c.succeeds("embed", `{"model":"words","input":"one"}`)
		first := jsonOf(a.StructuredContent["vectors"])
		shown{facts: []string{`"count":1`, first}, json: true}.check(t, "inline", a)

		a = c.succeeds("embed", `{"model":"words","input":["one","two"],"encoding":"base64"}`)
		vectors := a.StructuredContent["vectors"].([]any)
		shown{facts: []string{vectors[0].(string), vectors[1].(string)}, json: true}.check(t, "base64", a)

		a = c.succeeds("embed", `{"model":"words","input":"one","output":"resource"}`)
		uri, _ := a.StructuredContent["uri"].(string)
		shown{facts: []string{"ollama://embeddings/", uri, `"dimensions":2`, "expires_at", "15 minutes", `output "inline"`}, json: true}.check(t, "resource", a)

		a = c.succeeds("embed", `{"model":"words","input":"one","dimensions":7}`)
		shown{facts: []string{first, "vectors of 2 dimensions, not 7"}, json: true}.check(t, "other dimensions", a)
	})
}

// failsFor has a host answer as one that finds NaN in the vectors of texts that contain a word.
func failsFor(host *backendtest.Host, word string) {
	host.FailWhen(func(call backendtest.Call) backendtest.Fault {
		if strings.Contains(string(call.Body), word) {
			return backendtest.Refuse(500, "json: unsupported value: NaN")
		}
		return nil
	})
}

func TestEachHalfOfVectorsOfWhichSomeAreMissingIsEnough(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who.Tenant = "ci"
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 2}))
		failsFor(host, "bad")
		facts := []string{`"errors":[{`, `"index":1`, `"code":"upstream"`, `"message":"words: gpu-1: `, "NaN", `"hint":`, "1 of 3 texts could not be embedded", "input[1].", `"count":3`, `"dimensions":2`}
		for _, encoding := range []string{"float", "base64"} {
			a := c.succeeds("embed", `{"model":"words","input":["one","bad","two"],"encoding":"`+encoding+`"}`)
			vectors := a.StructuredContent["vectors"].([]any)
			shown{facts: append(facts, jsonOf(vectors[0]), `,null,`, jsonOf(vectors[2])), json: true}.check(t, encoding, a)
			if len(vectors) != 3 || vectors[1] != nil || vectors[0] == nil || vectors[2] == nil {
				t.Errorf("%s: got the vectors %v", encoding, vectors)
			}
		}
		a := c.succeeds("embed", `{"model":"words","input":["bad","one","two"],"output":"resource"}`)
		shown{facts: []string{"ollama://embeddings/", `"errors":[{`, `"index":0`, `"code":"upstream"`, "input[0]."}, json: true}.check(t, "resource", a)
		doc, err := c.read(a.StructuredContent["uri"].(string))
		if err != nil || !strings.Contains(doc, `"vectors":[null,[`) || !strings.Contains(doc, `"errors":[{"index":0,"code":"upstream"`) {
			t.Errorf("the resource holds %q, %v", doc, err)
		}
		many := `"one"` + strings.Repeat(`,"bad","worse than bad"`, 20)
		a = c.succeeds("embed", `{"model":"words","output":"resource","input":[`+many+`]}`)
		if errors := a.StructuredContent["errors"].([]any); len(errors) != 20 || !strings.Contains(a.Content[0].Text, "40 of 41 texts") || !strings.Contains(a.Content[0].Text, "first 20 errors") {
			t.Errorf("got %d errors in %s", len(errors), a.Content[0].Text)
		}
		shown{facts: []string{"input[0], input[1]:", "NaN", "upstream"}}.check(t, "all bad", c.fails("embed", `{"model":"words","input":["bad","bad too"]}`, "upstream"))
		shown{facts: []string{"NaN", "upstream"}}.check(t, "one", c.fails("embed", `{"model":"words","input":"bad"}`, "upstream"))
	})
}

func TestEachHalfOfARankingThatLacksADocumentIsEnough(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who.Tenant = "ci"
		c.allow(map[string]string{"a.txt": "bread", "b.txt": "bad"})
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 64}))
		failsFor(host, "bad")
		a := c.succeeds("rank", `{"model":"words","query":"bread","documents":["tax","bad","bread"]}`)
		shown{facts: []string{`"ranked":[{"index":2,"score":1}`, `"errors":[{`, `"index":1`, `"code":"upstream"`, "NaN", "documents[1]."}, json: true}.check(t, "documents", a)
		if ranked := a.StructuredContent["ranked"].([]any); len(ranked) != 2 {
			t.Errorf("got %v", ranked)
		}
		a = c.succeeds("rank", `{"model":"words","query":"bread","files":["a.txt","b.txt"]}`)
		shown{facts: []string{`"errors":[{`, `"index":1`, `"name":"b.txt"`, `"code":"upstream"`}, json: true}.check(t, "files", a)
		many := `"bread"` + strings.Repeat(`,"bad"`, 30)
		a = c.succeeds("rank", `{"model":"words","query":"bread","documents":[`+many+`]}`)
		if errors := a.StructuredContent["errors"].([]any); len(errors) != 20 || !strings.Contains(a.Content[0].Text, "first 20 errors") {
			t.Errorf("got %d errors in %s", len(errors), a.Content[0].Text)
		}
		c.fails("rank", `{"model":"words","query":"bad","documents":["tax","bread"]}`, "upstream", "query: ")
		c.fails("rank", `{"model":"words","query":"bread","documents":["bad","bad too"]}`, "upstream", "documents[0]")
		c.fails("rank", `{"model":"words","query":"bad","documents":["bad"]}`, "upstream", "documents[0], query: ")
	})
}

func TestEachHalfOfTheOtherResultsIsEnough(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "tiny"}))
		shown{facts: []string{"tiny:latest", "gpu-1"}, json: true}.check(t, "list-models", c.succeeds("list-models", `{}`))
		shown{facts: []string{`"models":[]`, "ollama pull"}, json: true}.check(t, "no such model", c.succeeds("list-models", `{"query":"nothing"}`))
		shown{facts: []string{"gpu-1", `"healthy":true`, "random_string"}, json: true}.check(t, "status", c.succeeds("status", `{"random_string":""}`))
		shown{facts: []string{`"removed":0`}, json: true}.check(t, "clear-cache", c.as(caller.Caller{Admin: true}).succeeds("clear-cache", `{}`))
	})
}

func TestEachHalfOfAnErrorIsEnough(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1"))
		slow := c.as(caller.Caller{ID: "slow", Limits: caller.Limits{PerSecond: 0.1}})
		slow.succeeds("list-models", `{}`)
		shown{facts: []string{"1 call", "try again in 10 s", "rate_limited", "retryable"}}.
			check(t, "rate limit", slow.fails("list-models", `{}`, "rate_limited"))
		shown{facts: []string{`unknown argument "promt"`, `"model" is missing`, "invalid_argument"}}.
			check(t, "arguments", c.fails("generate", `{"promt":"x"}`, "invalid_argument"))
		shown{facts: []string{"nothing", "ollama pull", "model_not_found"}}.
			check(t, "model", c.fails("generate", `{"model":"nothing","prompt":"x"}`, "model_not_found"))

		host.Answer(`{"answer":"many"}`)
		a := c.fails("generate", `{"model":"tiny","prompt":"?",`+answerFormat+`}`, "upstream")
		shown{facts: []string{"does not fit the format", "try again", "upstream"}, notes: []string{`{"answer":"many"}`}}.check(t, "misfit", a)
		if a.StructuredContent["partial"] != `{"answer":"many"}` || a.StructuredContent["retryable"] != true {
			t.Errorf("got %v, want what came and that it may be tried again", a.StructuredContent)
		}
		a = c.fails("generate", `{"model":"tiny","prompt":"?","options":{"seed":1},`+answerFormat+`}`, "upstream", "another seed")
		if a.StructuredContent["retryable"] != false {
			t.Errorf("with a seed: got %v, want an error that the same call would have again", a.StructuredContent)
		}
		host.AnswerWith(func(backendtest.Call) backendtest.Reply {
			return backendtest.Reply{Text: `{"answer":`, DoneReason: "length"}
		})
		a = c.fails("generate", `{"model":"tiny","prompt":"!",`+answerFormat+`}`, "upstream")
		shown{facts: []string{"cut after", "num_predict", "upstream"}, notes: []string{`{"answer":`}}.check(t, "cut", a)
		if a.StructuredContent["retryable"] != false || strings.Contains(a.Content[0].Text, "retryable") {
			t.Errorf("got %v, want an error that the same call would have again", a)
		}

		host.Answer("one two three four").TokenTime(time.Second)
		var left answer
		var calls sync.WaitGroup
		calls.Go(func() {
			left = c.call(c.context(), "generate", `{"model":"tiny","prompt":"slow","timeout_seconds":2.5}`)
		})
		synctest.Wait()
		calls.Wait()
		shown{facts: []string{"one two"}, notes: []string{"time limit", "timeout_seconds"}}.check(t, "time limit", left)
	})
}

// Some hosts put the metadata into the model's context.
func TestMetadataIsAsLongAsConfigured(t *testing.T) {
	for level, want := range map[string]int{"short": 4, "off": 0, "full": 10} {
		synctest.Test(t, func(t *testing.T) {
			c := &client{t: t, resultMeta: level}
			c.use(backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply {
				return backendtest.Reply{Thinking: "hm", Text: "42"}
			}))
			a := c.succeeds("generate", `{"model":"tiny","prompt":"?","think":true}`)
			if n := len(a.Meta.Served); n < want || level != "full" && n != want {
				t.Errorf("%s: got %v", level, a.Meta.Served)
			}
			if a.Meta.Thinking != "hm" {
				t.Errorf("%s: the thoughts that the caller asked for are lost", level)
			}
		})
	}
}
