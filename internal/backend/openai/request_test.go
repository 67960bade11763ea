package openai_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/backend/openai"
)

const streamed = `"stream":true,"stream_options":{"include_usage":true}`

// sent returns the path and the body of the one request that ask makes.
func sent(t *testing.T, ask func(backend.Backend)) (path, body string) {
	t.Helper()
	fake := backendtest.New("a").Install(backendtest.Model{Name: "m"})
	ask(open(t, openai.Options{URL: fake.Listen(t) + "/v1"}))
	calls := fake.Calls()
	if len(calls) != 1 {
		t.Fatalf("got %d calls, want 1", len(calls))
	}
	return calls[0].Path, string(calls[0].Body)
}

func message(t *testing.T, s string) (m backend.Message) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestChatIsPutIntoTheWordsOfTheAPI(t *testing.T) {
	var tool backend.Tool
	const weather = `{"type":"function","function":{"name":"weather","description":"d","parameters":{"type":"object","required":["city"],"properties":{"city":{"type":"string"}}}}}`
	if err := json.Unmarshal([]byte(weather), &tool); err != nil {
		t.Fatal(err)
	}
	chat := func(messages ...string) backend.ChatRequest {
		req := backend.ChatRequest{Model: "m"}
		for _, s := range messages {
			req.Messages = append(req.Messages, message(t, s))
		}
		return req
	}
	with := func(change func(*backend.ChatRequest)) backend.ChatRequest {
		req := chat(`{"role":"user","content":"hi"}`)
		change(&req)
		return req
	}
	const hi = `"messages":[{"role":"user","content":"hi"}],"model":"m",`
	const png = "\x89PNG\r\n\x1a\n"
	for name, c := range map[string]struct {
		req     backend.ChatRequest
		want    string
		dropped []string
	}{
		"roles": {
			chat(`{"role":"system","content":"s"}`, `{"role":"user","content":"hi"}`, `{"role":"assistant","content":""}`),
			`{"messages":[{"role":"system","content":"s"},{"role":"user","content":"hi"},{"role":"assistant","content":""}],"model":"m",` + streamed + `}`, nil,
		},
		"images": {
			with(func(r *backend.ChatRequest) { r.Messages[0].Images = []backend.ImageData{backend.ImageData(png)} }),
			`{"messages":[{"role":"user","content":[{"text":"hi","type":"text"},{"image_url":{"url":"data:image/png;base64,iVBORw0KGgo="},"type":"image_url"}]}],"model":"m",` + streamed + `}`, nil,
		},
		"tools": {
			with(func(r *backend.ChatRequest) { r.Tools = []backend.Tool{tool} }),
			`{` + hi + streamed + `,"tools":[` + weather + `]}`, nil,
		},
		"results by name, without ids": {
			chat(
				`{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":{"x":1}}},{"function":{"name":"b","arguments":{}}}]}`,
				`{"role":"tool","tool_name":"b","content":"of b"}`, `{"role":"tool","tool_name":"a","content":"of a"}`, `{"role":"tool","content":"of none"}`,
			),
			`{"messages":[{"role":"assistant","content":null,"tool_calls":[` +
				`{"id":"call_0_0","type":"function","function":{"name":"a","arguments":"{\"x\":1}"}},` +
				`{"id":"call_0_1","type":"function","function":{"name":"b","arguments":"{}"}}]},` +
				`{"role":"tool","content":"of b","tool_call_id":"call_0_1"},` +
				`{"role":"tool","content":"of a","tool_call_id":"call_0_0"},` +
				`{"role":"tool","content":"of none"}],"model":"m",` + streamed + `}`, nil,
		},
		"results by id, and in turn": {
			chat(
				`{"role":"assistant","content":"c","tool_calls":[{"id":"x1","function":{"name":"a"}},{"id":"x2","function":{"name":"a"}},{"id":"x3","function":{"name":"a"}}]}`,
				`{"role":"tool","tool_call_id":"x2","content":"2"}`, `{"role":"tool","tool_name":"a","content":"1"}`, `{"role":"tool","content":"3"}`,
			),
			`{"messages":[{"role":"assistant","content":"c","tool_calls":[` +
				`{"id":"x1","type":"function","function":{"name":"a","arguments":"{}"}},` +
				`{"id":"x2","type":"function","function":{"name":"a","arguments":"{}"}},` +
				`{"id":"x3","type":"function","function":{"name":"a","arguments":"{}"}}]},` +
				`{"role":"tool","content":"2","tool_call_id":"x2"},` +
				`{"role":"tool","content":"1","tool_call_id":"x1"},` +
				`{"role":"tool","content":"3","tool_call_id":"x3"}],"model":"m",` + streamed + `}`, nil,
		},
		"options": {
			with(func(r *backend.ChatRequest) {
				r.Options = map[string]any{
					"num_predict": 7, "temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": []string{"x"},
					"presence_penalty": 1, "frequency_penalty": 2, "top_k": 4, "num_ctx": 5,
				}
			}),
			`{"frequency_penalty":2,"max_tokens":7,` + hi + `"presence_penalty":1,"seed":3,"stop":["x"],` + streamed + `,"temperature":0.5,"top_p":0.9}`,
			[]string{"num_ctx", "top_k"},
		},
		"no limit": {
			with(func(r *backend.ChatRequest) { r.Options = map[string]any{"num_predict": -1.0} }), `{` + hi + streamed + `}`, nil,
		},
		"any JSON": {
			with(func(r *backend.ChatRequest) { r.Format = json.RawMessage(`"json"`) }),
			`{` + hi + `"response_format":{"type":"json_object"},` + streamed + `}`, nil,
		},
		"JSON after a schema": {
			with(func(r *backend.ChatRequest) { r.Format = json.RawMessage(`{"type":"object"}`) }),
			`{` + hi + `"response_format":{"json_schema":{"name":"answer","schema":{"type":"object"},"strict":false},"type":"json_schema"},` + streamed + `}`, nil,
		},
		"effort": {
			with(func(r *backend.ChatRequest) { r.Think = &backend.ThinkValue{Value: "high"} }),
			`{` + hi + `"reasoning_effort":"high",` + streamed + `}`, nil,
		},
		"no thinking": {
			with(func(r *backend.ChatRequest) { r.Think = &backend.ThinkValue{Value: false} }), `{` + hi + streamed + `}`, []string{"think"},
		},
	} {
		var got *backend.Answer
		path, body := sent(t, func(b backend.Backend) {
			var err error
			if got, err = b.Chat(t.Context(), &c.req, nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
		if path != "/v1/chat/completions" || body != c.want {
			t.Errorf("%s: sent to %s\n%s\nwant\n%s", name, path, body, c.want)
		}
		if got != nil && !slices.Equal(got.Dropped, c.dropped) {
			t.Errorf("%s: dropped %q, want %q", name, got.Dropped, c.dropped)
		}
	}
}

func TestGenerateIsAChatUnlessThePromptIsRawOrHasASuffix(t *testing.T) {
	for name, c := range map[string]struct {
		req        backend.GenerateRequest
		path, want string
		dropped    []string
	}{
		"prompt": {
			backend.GenerateRequest{Model: "m", Prompt: "p", System: "s", Template: "t", Context: []int{1}},
			"/v1/chat/completions",
			`{"messages":[{"role":"system","content":"s"},{"role":"user","content":"p"}],"model":"m",` + streamed + `}`,
			[]string{"template", "context"},
		},
		"raw": {
			backend.GenerateRequest{Model: "m", Prompt: "p", Raw: true, Format: json.RawMessage(`"json"`), Options: map[string]any{"num_predict": 2, "min_p": 0.1}},
			"/v1/completions", `{"max_tokens":2,"model":"m","prompt":"p",` + streamed + `}`,
			[]string{"format", "min_p"},
		},
		"suffix": {
			backend.GenerateRequest{Model: "m", Prompt: "p", Suffix: "s", System: "s", Think: &backend.ThinkValue{Value: "low"}},
			"/v1/completions", `{"model":"m","prompt":"p",` + streamed + `,"suffix":"s"}`,
			[]string{"system", "think"},
		},
	} {
		path, body := sent(t, func(b backend.Backend) {
			got, err := b.Generate(t.Context(), &c.req, nil)
			if err != nil || got.Text != "p" || !slices.Equal(got.Dropped, c.dropped) {
				t.Errorf("%s: got %+v, %v, want p without %q", name, got, err, c.dropped)
			}
		})
		if path != c.path || body != c.want {
			t.Errorf("%s: sent to %s\n%s\nwant %s\n%s", name, path, body, c.path, c.want)
		}
	}
}

func TestEmbedAsksForNumbersOfTheWantedLength(t *testing.T) {
	path, body := sent(t, func(b backend.Backend) {
		got, err := b.Embed(t.Context(), &backend.EmbedRequest{Model: "m", Input: []string{"one", "two"}, Dimensions: 8})
		if err != nil || got.PromptEvalCount != 2 {
			t.Errorf("got %+v, %v, want 2 tokens", got, err)
		}
	})
	const want = `{"dimensions":8,"encoding_format":"float","input":["one","two"],"model":"m"}`
	if path != "/v1/embeddings" || body != want {
		t.Errorf("sent to %s\n%s\nwant\n%s", path, body, want)
	}
}

func TestWhatTheAPICannotDoIsRefusedBeforeItIsSent(t *testing.T) {
	fake := backendtest.New("a")
	host := open(t, openai.Options{URL: fake.Listen(t) + "/v1"})
	for name, req := range map[string]backend.GenerateRequest{
		"nothing but a load": {Model: backendtest.Tiny},
		"raw, with an image": {Model: backendtest.Tiny, Prompt: "p", Raw: true, Images: []backend.ImageData{{1}}},
	} {
		if _, err := host.Generate(t.Context(), &req, nil); !errors.Is(err, backend.Request) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := host.Chat(t.Context(), &backend.ChatRequest{Model: backendtest.Tiny}, nil); !errors.Is(err, backend.Request) || !strings.Contains(err.Error(), "no messages") {
		t.Errorf("no messages: got %v", err)
	}
	if n := fake.Stats().Calls; n != 0 {
		t.Errorf("%d calls reached the host", n)
	}
}
