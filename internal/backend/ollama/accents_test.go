package ollama_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/backend/ollama"
)

// TestAnswersAreReadInEveryForm has what proxies make of Ollama's lines, and what other servers
// with its API send.
func TestAnswersAreReadInEveryForm(t *testing.T) {
	const (
		hel = `{"response":"hel","done":false}`
		lo  = `{"response":"lo","done":false}`
		end = `{"response":"","done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":2}`
	)
	for name, c := range map[string]struct{ body, want string }{
		"lines":                      {hel + "\n" + lo + "\n" + end + "\n", `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},
		"a byte order mark":          {"\ufeff" + hel + "\n" + lo + "\n" + end, `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},
		"events":                     {"data: " + hel + "\n\ndata: " + lo + "\n\ndata: " + end + "\n\ndata: [DONE]\n\n", `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},
		"events with names":          {"event: message\nid: 1\ndata:" + hel + "\n\n: ping\n\nretry: 9\ndata:" + lo + "\r\n\r\ndata:" + end + "\n\n", `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},
		"events behind a mark":       {"\ufeffdata: " + hel + "\n\ndata: " + lo + "\n\ndata: " + end, `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},
		"events without blank lines": {"data: " + hel + "\ndata: " + lo + "\ndata: " + end + "\n", `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},
		"an event over two lines":    {"data: {\"response\":\ndata: \"hello\"}\n\n" + end, `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},
		"lines, then events":         {hel + "\n" + "data: " + lo + "\n\ndata: " + end + "\n\n", `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},
		"a word between":             {hel + "\nping\n\n" + lo + "\n" + end, `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},
		"lines that end with CR":     {hel + "\r" + lo + "\r" + end + "\r", `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},

		"counts in fractions":   {`{"response":"hello","done":true,"done_reason":"stop","prompt_eval_count":3.0,"eval_count":2.0,"eval_duration":1e6}`, `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},
		"counts in quotes":      {`{"response":"hello","done":true,"done_reason":"stop","prompt_eval_count":"3","eval_count":"2","load_duration":"none"}`, `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},
		"counts that are none":  {`{"response":"hello","done":true,"done_reason":"stop","prompt_eval_count":null,"eval_count":-4}`, `"hello" thinking "" calls 0 reason "stop" tokens 0+0`},
		"a mark in quotes":      {`{"response":"hello","done":"true","done_reason":null,"eval_count":2}`, `"hello" thinking "" calls 0 reason "unknown" tokens 0+2`},
		"other members":         {`{"model":7,"created_at":{},"context":"x","message":"none","response":"hello","thinking":null,"logprobs":"no","done":true,"done_reason":"stop"}`, `"hello" thinking "" calls 0 reason "stop" tokens 0+0`},
		"no error":              {`{"error":"","response":"hel"}` + "\n" + `{"error":{},"response":"lo","done":true,"done_reason":"stop"}`, `"hello" thinking "" calls 0 reason "stop" tokens 0+0`},
		"one call, not a list":  {`{"message":{"content":"","tool_calls":{"function":{"name":"f","arguments":"{\"x\":1}"}}},"done":true,"done_reason":"stop"}`, `"" thinking "" calls 1 reason "stop" tokens 0+0`},
		"numbers of Python":     {`{"response":"hello","score":NaN,"done":true,"done_reason":"stop"}`, `"hello" thinking "" calls 0 reason "stop" tokens 0+0`},
		"several values a line": {hel + lo + " " + end, `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},

		"surrogates in two pieces":      {`{"response":"a\ud83d"}` + "\n" + `{"response":"\ude00b"}` + "\n" + end, `"a😀b" thinking "" calls 0 reason "stop" tokens 3+2`},
		"surrogates in two thoughts":    {`{"message":{"thinking":"\ud83d"}}` + "\n" + `{"message":{"content":"x","thinking":""}}` + "\n" + `{"message":{"thinking":"\uDE00"}}` + "\n" + end, `"x" thinking "😀" calls 0 reason "stop" tokens 3+2`},
		"bytes in four pieces":          {"{\"response\":\"a\xf0\"}\n{\"response\":\"\x9f\"}\n{\"response\":\"\x98\"}\n{\"response\":\"\x80b\"}\n" + end, `"a😀b" thinking "" calls 0 reason "stop" tokens 3+2`},
		"bytes and escapes":             {"{\"response\":\"\\n\xe4\xbd\"}\n{\"response\":\"\xa0\\n\"}\n" + end, `"\n你\n" thinking "" calls 0 reason "stop" tokens 3+2`},
		"half a character":              {`{"response":"a\ud83d"}` + "\n" + end, `"a�" thinking "" calls 0 reason "stop" tokens 3+2`},
		"the other half":                {`{"response":"\ude00a"}` + "\n" + end, `"�a" thinking "" calls 0 reason "stop" tokens 3+2`},
		"half a character, and another": {`{"response":"\ud83d"}` + "\n" + `{"response":"é"}` + "\n" + end, `"�é" thinking "" calls 0 reason "stop" tokens 3+2`},

		"text behind the end":    {hel + "\n" + end + "\n" + lo + "\n" + end, `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},
		"an end with each part":  {`{"response":"hel","done":true,"done_reason":"stop"}` + "\n" + `{"response":"lo","done":true,"done_reason":"length"}`, `"hello" thinking "" calls 0 reason "length" tokens 0+0`},
		"an object behind":       {`{"response":"hello","done":true,"done_reason":"stop"}` + "\n" + `{"object":"stats","took":3}` + "\n", `"hello" thinking "" calls 0 reason "stop" tokens 0+0`},
		"the counts behind":      {`{"response":"hello","done":true,"done_reason":"stop"}` + "\n" + `{"done":true,"prompt_eval_count":3,"eval_count":2}`, `"hello" thinking "" calls 0 reason "stop" tokens 3+2`},
		"a mark behind":          {`{"response":"hello","done":true,"done_reason":"stop"}` + "\n[DONE]\n", `"hello" thinking "" calls 0 reason "stop" tokens 0+0`},
		"broken JSON behind":     {`{"response":"hello","done":true,"done_reason":"stop"}` + "\n{\"resp", `"hello" thinking "" calls 0 reason "stop" tokens 0+0`},
		"HTML behind":            {`{"response":"hello","done":true,"done_reason":"stop"}` + "\n<hr>nginx", `"hello" thinking "" calls 0 reason "stop" tokens 0+0`},
		"a call behind the end":  {`{"message":{"content":"x"},"done":true,"done_reason":"stop"}` + "\n" + `{"message":{"tool_calls":[{"function":{"name":"f"}}]},"done":true,"done_reason":"stop"}`, `"x" thinking "" calls 1 reason "stop" tokens 0+0`},
		"a blank behind the end": {end + "\n" + `{"response":"","done":false}` + "\n", `"" thinking "" calls 0 reason "stop" tokens 3+2`},
	} {
		got, err := generated(t, c.body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if said := fmt.Sprintf("%q thinking %q calls %d reason %q tokens %d+%d", got.Text, got.Thinking, len(got.ToolCalls), got.DoneReason, got.PromptTokens, got.Tokens); said != c.want {
			t.Errorf("%s: got %s, want %s", name, said, c.want)
		}
	}
}

func TestAnswersThatEndBadlyFailInEveryForm(t *testing.T) {
	const half = `{"response":"half","done":true,"done_reason":"stop"}` + "\n"
	for name, c := range map[string]struct {
		body  string
		class backend.Class
		said  string
		text  string
	}{
		"text behind the end":         {half + `{"response":" more"}`, backend.Server, "ended after 2 pieces without being done", "half more"},
		"an error behind the end":     {half + `{"error":"out of memory"}`, backend.NoRoom, "out of memory", "half"},
		"an error as an event":        {"data: {\"response\":\"half\"}\n\nevent: error\ndata: {\"message\":\"the GPU is on fire\"}\n\n", backend.Server, "the GPU is on fire", "half"},
		"an error in words":           {"data: {\"response\":\"half\"}\n\nevent: error\ndata: the GPU is on fire\n\n", backend.Server, "the GPU is on fire", "half"},
		"only the mark of events":     {"data: {\"response\":\"half\"}\n\ndata: [DONE]\n\n", backend.Server, "without being done", "half"},
		"a call that cannot be read":  {`{"message":{"content":"half","tool_calls":[{"function":{"name":"f","arguments":[1]}}]},"done":true}`, backend.BadOutput, "tool call", ""},
		"a page of a proxy":           {"<html><body>Please sign in</body></html>", backend.Server, "not in the format of Ollama's API", ""},
		"nothing but keep-alives":     {": ping\n\n: ping\n\n", backend.Server, "the answer is empty", ""},
		"an answer in OpenAI's form":  {`{"choices":[{"message":{"content":"hi"}}]}`, backend.Server, "not in the format of Ollama's API", ""},
		"a list":                      {`[{"response":"hi","done":true}]`, backend.Server, "not in the format of Ollama's API", ""},
		"an answer that is cut there": {"data: {\"response\":\"half\"}\n\ndata: {\"respo", backend.Server, "without being done", "half"},
	} {
		got, err := generated(t, c.body)
		if err == nil || backend.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.said) {
			t.Errorf("%s: got %v of class %q, want %q of class %q", name, err, backend.ClassOf(err), c.said, c.class)
		}
		if c.text != "" && (got == nil || got.Text != c.text) {
			t.Errorf("%s: got %+v beside the error, want the text %q", name, got, c.text)
		}
	}
}

func generated(t *testing.T, body string) (*backend.Answer, error) {
	t.Helper()
	fake := backendtest.New("a").Break(backendtest.Respond(200, "text/event-stream", body))
	return open(t, ollama.Options{URL: fake.Listen(t)}).Generate(t.Context(), &backend.GenerateRequest{Model: "m", Prompt: "?"}, nil)
}

// TestEndOfABodyIsNotWaitedForWithoutEnd has a host that says that its answer is done, and then
// only keeps its connection alive.
func TestEndOfABodyIsNotWaitedForWithoutEnd(t *testing.T) {
	for name, keepAlive := range map[string]string{"nothing": "", "blank lines": "\n\n", "words": "data: ping\n\n", "empty parts": "{\"response\":\"\",\"done\":true}\n"} {
		synctest.Test(t, func(t *testing.T) {
			fake := backendtest.New("a").FailWhen(func(backendtest.Call) backendtest.Fault {
				return func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
					fmt.Fprint(w, `{"response":"hello","done":true,"done_reason":"stop"}`+"\n")
					for r.Context().Err() == nil {
						_, _ = fmt.Fprint(w, keepAlive)
						_ = http.NewResponseController(w).Flush()
						select {
						case <-time.After(300 * time.Millisecond):
						case <-r.Context().Done():
						}
					}
				}
			})
			t.Cleanup(fake.Close)
			began := time.Now()
			got, err := open(t, ollama.Options{DialContext: fake.Dial}).Generate(context.Background(), &backend.GenerateRequest{Model: "m", Prompt: "?"}, nil)
			if took := time.Since(began); err != nil || got.Text != "hello" || took > 3*time.Second {
				t.Errorf("%s: got %+v, %v after %v", name, got, err, took)
			}
		})
	}
}

func TestListsAreReadInEveryForm(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"a byte order mark":         {"\ufeff" + `{"models":[{"name":"m:latest","size":7,"digest":"d"}]}`, "m:latest 7 d"},
		"sizes in other forms":      {`{"models":[{"name":"m:latest","size":"4 GB","modified_at":"yesterday","digest":"d","details":"none","capabilities":7}]}`, "m:latest 0 d"},
		"names as the other member": {`{"models":[{"model":"m:latest","size":7.0,"digest":"d"}]}`, "m:latest 7 d"},
		"a model without details":   {`{"models":[{"name":"m:latest","size":7,"digest":"d","modified_at":"","details":null}],"object":[]}`, "m:latest 7 d"},
	} {
		fake := backendtest.New("a").Break(backendtest.Respond(200, "application/json", c.body))
		got, err := open(t, ollama.Options{URL: fake.Listen(t)}).Models(t.Context())
		if err != nil || len(got) != 1 || fmt.Sprintf("%s %d %s", got[0].Name, got[0].Size, got[0].Digest) != c.want {
			t.Errorf("%s: got %+v, %v, want %s", name, got, err, c.want)
		}
	}
}
