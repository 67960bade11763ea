package openai_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/backend/openai"
)

// picky is a host that refuses requests that hold one of some texts, each with a body.
func picky(status int, refuses map[string]string) *backendtest.Host {
	return backendtest.New("a").FailWhen(func(c backendtest.Call) backendtest.Fault {
		for text, body := range refuses {
			if strings.Contains(string(c.Body), text) {
				return backendtest.Respond(status, "application/json", body)
			}
		}
		return nil
	})
}

func said(message string) string {
	body, _ := json.Marshal(map[string]any{"error": map[string]any{"message": message, "type": "invalid_request_error"}})
	return string(body)
}

func TestServerThatRefusesAFormIsAskedInAnotherOnce(t *testing.T) {
	type chat = backend.ChatRequest
	schema := json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}}}`)
	options := func(o map[string]any) func(*chat) { return func(r *chat) { r.Options = o } }
	for name, c := range map[string]struct {
		status  int
		refuses map[string]string
		change  func(*chat)
		first   int      // requests of the first call
		has     []string // what the accepted request holds
		dropped []string
	}{
		"stream_options":                       {400, map[string]string{"stream_options": said("Unrecognized request argument supplied: stream_options")}, func(*chat) {}, 2, []string{`"stream":true`}, nil},
		"stream_options, said elsewhere":       {422, map[string]string{"stream_options": `{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}`}, func(*chat) {}, 2, nil, nil},
		"stream_options, as an internal error": {500, map[string]string{"stream_options": said("unsupported parameter: stream_options")}, func(*chat) {}, 2, nil, nil},
		"json_object":                          {400, map[string]string{"json_object": said("'response_format.type' must be 'json_schema' or 'text'")}, func(r *chat) { r.Format = json.RawMessage(`"json"`) }, 2, []string{`"schema":{"type":"object"}`}, nil},
		"json_schema":                          {400, map[string]string{"json_schema": said("This response_format type is unavailable now")}, func(r *chat) { r.Format = schema }, 2, []string{`{"type":"json_object"}`}, nil},
		"any format":                           {400, map[string]string{"response_format": said("response_format is not supported by this model")}, func(r *chat) { r.Format = schema }, 3, nil, []string{"format"}},
		"max_tokens":                           {400, map[string]string{`"max_tokens"`: said("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")}, options(map[string]any{"num_predict": 5}), 2, []string{`"max_completion_tokens":5`}, nil},
		"temperature":                          {400, map[string]string{"temperature": said("Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.")}, options(map[string]any{"temperature": 0.2, "seed": 1}), 2, []string{`"seed":1`}, []string{"temperature"}},
		"a parameter that is named beside the words": {400, map[string]string{"seed": `{"error":{"message":"Unsupported parameter","param":"seed","code":"unsupported_parameter"}}`}, options(map[string]any{"seed": 1}), 2, nil, []string{"seed"}},
		"a level of thinking":                        {400, map[string]string{`"max"`: said(`invalid reasoning value: 'max' (must be "high", "medium", "low", or "none")`)}, func(r *chat) { r.Think = &backend.ThinkValue{Value: "max"} }, 2, []string{`"reasoning_effort":"high"`}, nil},
		"all levels":                                 {400, map[string]string{"reasoning_effort": said("Unrecognized request argument supplied: reasoning_effort")}, func(r *chat) { r.Think = &backend.ThinkValue{Value: "low"} }, 2, nil, []string{"think"}},
		"thoughts": {400, map[string]string{"reasoning_content": said("property 'messages.1.reasoning_content' is unsupported")}, func(r *chat) {
			r.Messages = append(r.Messages, backend.Message{Role: "assistant", Content: "a", Thinking: "hm"}, backend.Message{Role: "user", Content: "b"})
		}, 2, nil, []string{"thinking"}},
		"a value that alone is taken": {400, map[string]string{"temperature": said("temperature may only be set to 1 when thinking is enabled")}, options(map[string]any{"temperature": 0.2, "seed": 1}), 2, []string{`"seed":1`}, []string{"temperature"}},
		"two that exclude each other": {400, map[string]string{"top_p": said("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")}, options(map[string]any{"temperature": 0.2, "top_p": 0.9}), 2, []string{`"temperature":0.2`}, []string{"top_p"}},
		"a schema by its other name":  {400, map[string]string{"json_schema": said("Unable to submit request because responseSchema is not supported")}, func(r *chat) { r.Format = schema }, 2, []string{`{"type":"json_object"}`}, nil},
		"streams":                     {400, map[string]string{`"stream":true`: `{"error":{"message":"Your organization must be verified to stream this model.","param":"stream","code":"unsupported_value"}}`}, func(*chat) {}, 2, []string{`"stream":false`}, nil},
		"instructions": {400, map[string]string{`"role":"system"`: said("Unsupported value: 'messages[0].role' does not support 'system' with this model.")}, func(r *chat) {
			r.Messages = append([]backend.Message{{Role: "system", Content: "be brief"}}, r.Messages...)
		}, 2, []string{`{"role":"developer","content":"be brief"}`}, nil},
		"instructions in every role": {400, map[string]string{`"role":"system"`: said("System role not supported"), "developer": said("Developer instruction is not enabled for models/gemma-3")}, func(r *chat) {
			r.Messages = append([]backend.Message{{Role: "system", Content: "be brief"}, {Role: "system", Content: "be kind"}}, r.Messages...)
		}, 3, []string{`[{"role":"user","content":"be brief\n\nbe kind\n\nhello"}]`}, nil},
		"instructions before an image": {400, map[string]string{`"role":"system"`: said("System role not supported"), "developer": said("unexpected role 'developer'")}, func(r *chat) {
			r.Messages = []backend.Message{{Role: "system", Content: "be brief"}, {Role: "user", Content: "hello", Images: []backend.ImageData{{1}}}, {Role: "assistant", Content: "yes"}, {Role: "user", Content: "hello"}}
		}, 3, []string{`[{"text":"be brief","type":"text"},{"text":"hello","type":"text"},{"image_url"`}, nil},
		"instructions behind": {400, map[string]string{`"role":"system"`: said("Conversation roles must alternate user/assistant/user/assistant/..."), "developer": said("unexpected role 'developer'")}, func(r *chat) {
			r.Messages = append(r.Messages, backend.Message{Role: "assistant", Content: "yes"}, backend.Message{Role: "system", Content: "be brief"})
		}, 3, []string{`{"role":"user","content":"be brief"}]`}, nil},
		"several": {400, map[string]string{
			"stream_options": said("unknown field stream_options"), "temperature": said("temperature is not supported"), "json_object": said("json_object is not supported"),
		}, func(r *chat) {
			r.Options, r.Format = map[string]any{"temperature": 0}, json.RawMessage(`"json"`)
		}, 4, []string{"json_schema"}, []string{"temperature"}},
	} {
		fake := picky(c.status, c.refuses)
		host := open(t, openai.Options{URL: fake.Listen(t) + "/v1"})
		for call := range 3 {
			req := chat{Model: backendtest.Tiny, Messages: []backend.Message{{Role: "user", Content: "hello"}}}
			c.change(&req)
			before := len(fake.Calls())
			got, err := host.Chat(t.Context(), &req, nil)
			if err != nil || got.Text == "" || !slices.Equal(got.Dropped, c.dropped) {
				t.Errorf("%s, call %d: got %+v, %v, want an answer without %q", name, call, got, err, c.dropped)
				continue
			}
			all := fake.Calls()
			want := 1
			if call == 0 {
				want = c.first
			}
			if n := len(all) - before; n != want {
				t.Errorf("%s, call %d: %d requests, want %d", name, call, n, want)
			}
			for _, part := range c.has {
				if body := string(all[len(all)-1].Body); !strings.Contains(body, part) {
					t.Errorf("%s: sent %s, want %s in it", name, body, part)
				}
			}
		}
	}
}

func TestFormIsRememberedForItsModelAlone(t *testing.T) {
	fake := backendtest.New("a").Install(backendtest.Model{Name: "old"}, backendtest.Model{Name: "new"}).FailWhen(func(c backendtest.Call) backendtest.Fault {
		if c.Model == "new:latest" && strings.Contains(string(c.Body), `"max_tokens"`) {
			return backendtest.Refuse(400, "max_tokens is not supported")
		}
		return nil
	})
	host := open(t, openai.Options{URL: fake.Listen(t) + "/v1"})
	for _, model := range []string{"new", "old", "new"} {
		if _, err := host.Generate(t.Context(), &backend.GenerateRequest{Model: model, Prompt: "p", Options: map[string]any{"num_predict": 5}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var limits []string
	for _, call := range fake.Calls() {
		limits = append(limits, call.Model+" "+map[bool]string{true: "max_tokens", false: "other"}[strings.Contains(string(call.Body), `"max_tokens"`)])
	}
	if want := []string{"new:latest max_tokens", "new:latest other", "old:latest max_tokens", "new:latest other"}; !slices.Equal(limits, want) {
		t.Errorf("got %q, want %q", limits, want)
	}
}

func TestRefusalOfAValueIsNoReasonForAnotherForm(t *testing.T) {
	for message, change := range map[string]func(*backend.ChatRequest){
		"temperature must be between 0 and 2":                        func(r *backend.ChatRequest) { r.Options = map[string]any{"temperature": 7} },
		"max_tokens is too large: 99999":                             func(r *backend.ChatRequest) { r.Options = map[string]any{"num_predict": 99999} },
		"Invalid schema for response_format 'answer': In context=()": func(r *backend.ChatRequest) { r.Format = json.RawMessage(`{"type":"object"}`) },
		"the prompt is unsupported":                                  func(*backend.ChatRequest) {},
		"no":                                                         func(r *backend.ChatRequest) { r.Options = map[string]any{"seed": 1} },
	} {
		fake := backendtest.New("a").Break(backendtest.Respond(http.StatusBadRequest, "application/json", said(message)))
		host := open(t, openai.Options{URL: fake.Listen(t) + "/v1"})
		req := backend.ChatRequest{Model: backendtest.Tiny, Messages: []backend.Message{{Role: "user", Content: "hello"}}}
		change(&req)
		if _, err := host.Chat(t.Context(), &req, nil); backend.ClassOf(err) != backend.Request || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: got %v", message, err)
		}
	}
}

func TestWhatAServerHasAddedToACallGoesBackToIt(t *testing.T) {
	var calls []backend.ToolCall
	const added = `[{"id":"x","function":{"index":0,"name":"a","arguments":{"id":1234567890123456789,"b":1.10},"strict":true},"extra_content":{"google":{"thought_signature":"c2ln"}},"reasoning_content":"hm"}]`
	if err := json.Unmarshal([]byte(added), &calls); err != nil {
		t.Fatal(err)
	}
	_, body := sent(t, func(b backend.Backend) {
		_, err := b.Chat(t.Context(), &backend.ChatRequest{Model: "m", Messages: []backend.Message{
			{Role: "user", Content: "q"}, {Role: "assistant", ToolCalls: calls}, {Role: "tool", Content: "r", ToolName: "a"},
		}}, nil)
		if err != nil {
			t.Error(err)
		}
	})
	const want = `{"role":"assistant","content":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"a","arguments":"{\"id\":1234567890123456789,\"b\":1.10}","strict":true},` +
		`"extra_content":{"google":{"thought_signature":"c2ln"}}}],"reasoning_content":"hm"},{"role":"tool","content":"r","tool_call_id":"x"}`
	if !strings.Contains(body, want) {
		t.Errorf("sent %s\nwant in it %s", body, want)
	}
}
