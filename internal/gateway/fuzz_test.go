package gateway_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/pool"
)

// FuzzOllamaRequests sends a request to a host and to the gateway before it. What the gateway
// accepts must reach the host as if it had been sent there, and so read by Ollama's own types; what
// it refuses must be refused in good order.
func FuzzOllamaRequests(f *testing.F) {
	for _, body := range []string{
		`{"model":"tiny","prompt":"hello","options":{"temperature":0.5,"stop":["x"],"surprise":1,"seed":null},"keep_alive":"5m","think":"high"}`,
		`{"model":"tiny","messages":[{"role":"user","content":"hello","images":[]},{"role":"assistant","content":"","tool_calls":[{"id":"1","function":{"name":"f","arguments":{"a":1}}}]},{"role":"tool","content":"2","tool_name":"f"}],"stream":false}`,
		`{"model":"tiny","prompt":"a","suffix":"b","raw":true,"format":"json","system":"s"}`,
		`{"Model":"tiny","PROMPT":"a","prompt":"b","think":false}`,
		`{"model":"tiny","messages":[{"content":"\ud800","role":7}]}`, `[]`, `null`, `{"model":"tiny","prompt":"x"}{`,
		`{"model":"tiny","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":["string","null"]}}}}}]}`,
	} {
		f.Add("/api/generate", body)
		f.Add("/api/chat", body)
	}
	f.Fuzz(func(t *testing.T, path, body string) {
		if path != "/api/generate" && path != "/api/chat" || len(body) > 1<<16 {
			return
		}
		c := &client{t: t}
		c.use(pool.Options{Slots: 2, Queue: 2}, backendtest.New("gpu-1").Answer(`{"a":1}`).Version("0.34.0"))
		got := c.ask("POST", path, body)
		expectInOrder(t, got)
		calls := c.host.Calls()
		if got.status != 200 || len(calls) == 0 {
			return
		}
		sent := calls[0]
		if c.askHost("POST", path, body).status != 200 {
			return // it is stricter about what it is asked, not about the form
		}
		calls = c.host.Calls()
		direct := calls[len(calls)-1]
		if path == "/api/chat" && direct.Chat != nil && sent.Chat != nil {
			if got, want := toJSON(sent.Chat.Messages), toJSON(direct.Chat.Messages); got != want {
				t.Errorf("%q: the host gets the messages %s, want %s", body, got, want)
			}
			if len(sent.Chat.Tools) != len(direct.Chat.Tools) || !reflect.DeepEqual(sent.Chat.Think, direct.Chat.Think) {
				t.Errorf("%q: the host gets %+v, want %+v", body, sent.Chat, direct.Chat)
			}
		}
		if path == "/api/generate" && sent.Generate != nil && direct.Generate != nil {
			s, d := sent.Generate, direct.Generate
			if s.Prompt != d.Prompt || s.System != d.System || s.Suffix != d.Suffix || s.Raw != d.Raw || len(s.Images) != len(d.Images) {
				t.Errorf("%q: the host gets %+v, want %+v", body, s, d)
			}
		}
		wanted := maps.Clone(direct.Options)
		unknown := backend.UnknownOptions(wanted)
		maps.DeleteFunc(wanted, func(name string, value any) bool { return value == nil || slices.Contains(unknown, name) })
		for name, value := range wanted {
			if !reflect.DeepEqual(sent.Options[name], value) && name != "num_ctx" && !strings.HasPrefix(name, "num_") && name != "main_gpu" && name != "use_mmap" {
				t.Errorf("%q: the host gets the option %s as %v, want %v", body, name, sent.Options[name], value)
			}
		}
	})
}

// expectInOrder holds a response to what each has to be: JSON, with a status that says what is
// wrong, and nobody's bug.
func expectInOrder(t *testing.T, r reply) {
	t.Helper()
	switch r.status {
	case 200, 400, 403, 404, 502, 503, 504:
	default:
		t.Errorf("got status %d %s", r.status, r.body)
	}
	if chunks := r.chunks(t); r.status == 200 && len(chunks) == 0 {
		t.Errorf("got an empty answer")
	}
	if strings.Contains(r.body, "internal error") {
		t.Errorf("got %s", r.body)
	}
}

// FuzzOpenAIRequests compares what reaches the host with what a plain walk through the JSON finds.
func FuzzOpenAIRequests(f *testing.F) {
	for _, body := range []string{
		`{"model":"tiny","messages":[{"role":"user","content":"hello"}],"max_tokens":5,"stop":"x","temperature":0,"stream":true}`,
		`{"model":"tiny","messages":[{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"user","content":"c"}],"max_completion_tokens":3,"stop":["x","y"]}`,
		`{"model":"tiny","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"1","content":"2"}]}`,
		`{"model":"tiny","messages":[{"role":"user","content":[{"type":"image_url","image_url":"data:image/png;base64,iVBORw0KGgo="}]}]}`,
		`{"model":"tiny","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"schema":{"type":"object"}}},"n":1}`,
		`{"model":"tiny","messages":{},"stop":7}`, `{}`, `"`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > 1<<16 {
			return
		}
		c := &client{t: t}
		c.use(pool.Options{Slots: 2, Queue: 2}, backendtest.New("gpu-1").Answer(`{"a":1}`).Version("0.34.0"))
		got := c.ask("POST", "/v1/chat/completions", body)
		expectInOrder(t, got)
		calls := c.host.Calls()
		if got.status != 200 || len(calls) == 0 || calls[0].Chat == nil {
			return
		}
		var plain struct {
			Messages []struct{ Content any }
		}
		if err := json.Unmarshal([]byte(body), &plain); err != nil {
			t.Fatalf("%q was accepted, and is not read: %v", body, err)
		}
		var want, sent []string
		for _, m := range plain.Messages {
			switch content := m.Content.(type) {
			case string:
				want = append(want, content)
			case nil:
				want = append(want, "")
			case []any:
				for _, part := range content {
					object, _ := part.(map[string]any)
					text := ""
					for name, value := range object {
						if s, ok := value.(string); ok && strings.EqualFold(name, "text") {
							text = s
						}
					}
					want = append(want, text)
				}
			}
		}
		for _, m := range calls[0].Chat.Messages {
			sent = append(sent, m.Content)
		}
		if !slices.Equal(sent, want) {
			t.Errorf("%q: the host gets the texts %q, want %q", body, sent, want)
		}
	})
}
