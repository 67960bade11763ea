package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/gateway"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/manage"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// client sends requests to a gateway, and to the host behind it.
type client struct {
	t       *testing.T
	who     caller.Caller
	opts    inference.Options // what use leaves as it is
	aliases map[string][]string
	refuse  error // of every call
	engine  *inference.Engine
	gateway *gateway.Gateway
	host    *backendtest.Host // the first
}

func story(t *testing.T, tell func(t *testing.T, c *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { tell(t, &client{t: t}) })
}

func (c *client) use(o pool.Options, hosts ...*backendtest.Host) {
	c.t.Helper()
	c.host = hosts[0]
	for _, host := range hosts {
		o.Hosts = append(o.Hosts, host.Open(c.t))
	}
	p, err := pool.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	settings, aliases := &inference.Settings{Models: make(map[string]inference.ForModel)}, make(map[string][]string)
	for name, try := range c.aliases {
		name = backend.CanonicalModel(name)
		aliases[name], settings.Models[name] = try, inference.ForModel{Try: try}
	}
	if settings.Ladders, err = route.NewLadders(aliases, nil, nil); err != nil {
		c.t.Fatal(err)
	}
	opts := c.opts
	opts.Hosts, opts.Timeout, opts.Settings = p, 55*time.Second, func() *inference.Settings { return settings }
	opts.Cache, opts.CacheMode = cache.Options{Size: 1 << 20, TTL: 10 * time.Minute}, "auto"
	if c.engine, err = inference.New(opts); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(c.engine.Close)
	c.gateway = gateway.New(gateway.Options{
		Engine: c.engine, Manage: manage.New(manage.Options{Hosts: p.Hosts}), Log: slog.New(slog.DiscardHandler),
		Admit: func(context.Context, string) (func(), error) { return func() {}, c.refuse },
		Trace: func(http.Header) (string, inference.TraceContext) { return "trace-1", inference.TraceContext{} },
	})
}

// reply is a response.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends a request to the gateway. Headers are pairs of name and value.
func (c *client) ask(method, path, body string, headers ...string) reply {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.serve(w, c.t.Context(), method, path, body, headers...)
	return reply{w.Code, w.Header(), w.Body.String()}
}

func (c *client) serve(w http.ResponseWriter, ctx context.Context, method, path, body string, headers ...string) {
	c.t.Helper()
	req := httptest.NewRequestWithContext(caller.NewContext(ctx, c.who), method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	for _, e := range c.gateway.Endpoints() {
		before, _, isPattern := strings.Cut(e.Path, "{")
		if e.Method == method && (e.Path == path || isPattern && strings.HasPrefix(path, before)) && e.Serve != nil { // as package server does
			e.Serve(w, req, []byte(body))
			return
		}
	}
	c.t.Fatalf("there is no %s %s", method, path)
}

// askHost sends the same request to the host itself.
func (c *client) askHost(method, path, body string) reply {
	c.t.Helper()
	direct := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return c.host.Dial(ctx, network, addr)
	}}}
	req, err := http.NewRequestWithContext(c.t.Context(), method, "http://host"+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := direct.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

// chunks are the JSON values of a response, of either form of a stream.
func (r reply) chunks(t *testing.T) (all []map[string]any) {
	t.Helper()
	text := r.body
	if strings.HasPrefix(r.header.Get("Content-Type"), "text/event-stream") {
		end := "data: [DONE]\n\n"
		if !strings.HasSuffix(text, end) && !strings.Contains(text, `"error"`) {
			t.Errorf("the stream does not end with %q: %s", end, text)
		}
		text = strings.ReplaceAll(strings.TrimSuffix(text, end), "data: ", "")
	}
	dec := json.NewDecoder(strings.NewReader(text))
	for {
		var chunk map[string]any
		if err := dec.Decode(&chunk); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%v in %s", err, r.body)
		}
		all = append(all, chunk)
	}
}

// joined is a stream of chunks as one: texts are joined, and of all else the last counts.
func joined(chunks []map[string]any) map[string]any {
	all := make(map[string]any)
	for _, chunk := range chunks {
		merge(all, chunk)
	}
	return all
}

func merge(into, from map[string]any) {
	for name, value := range from {
		switch v := value.(type) {
		case string:
			before, _ := into[name].(string)
			switch name {
			case "response", "thinking", "content", "reasoning", "text":
				into[name] = before + v
			default:
				into[name] = v
			}
		case map[string]any:
			inner, _ := into[name].(map[string]any)
			if inner == nil {
				inner = make(map[string]any)
				into[name] = inner
			}
			merge(inner, v)
		case []any:
			list, _ := into[name].([]any)
			for i, element := range v {
				object, ok := element.(map[string]any)
				if !ok || name == "tool_calls" || name == "logprobs" {
					list = append(list, element)
					continue
				}
				if i == len(list) {
					list = append(list, make(map[string]any))
				}
				merge(list[i].(map[string]any), object)
			}
			into[name] = list
		default:
			if _, known := into[name]; !known || value != nil {
				into[name] = value
			}
		}
	}
}

// varying are members that differ from one answer to the next, or that hosts alone know.
var varying = []string{
	"created_at", "created", "id", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration", "context", "modified_at", "expires_at",
}

func without(value any, names ...string) any {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range names {
			delete(v, name)
		}
		for _, member := range v {
			without(member, names...)
		}
	case []any:
		for _, element := range v {
			without(element, names...)
		}
	}
	return value
}

// rich is a host whose answers have all that answers may have.
func rich() *backendtest.Host {
	return backendtest.New("gpu-1").AnswerWith(func(call backendtest.Call) backendtest.Reply {
		r := backendtest.Reply{Text: "The answer: " + call.Prompt + " <b>&\"é\n"}
		if strings.Contains(call.Prompt, "think") {
			r.Thinking = "let me see"
		}
		if strings.Contains(call.Prompt, "weather") {
			r.Text = ""
			r.ToolCalls = []backend.ToolCall{{ID: "call_1", Function: backend.ToolCallFunction{Name: "weather", Arguments: json.RawMessage(`{"city":"Oslo"}`)}}}
		}
		return r
	})
}

// TestAnswersAreThoseOfTheHost sends requests to a host and to the gateway in front of it.
func TestAnswersAreThoseOfTheHost(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, path, body string }{
		{"generate", "/api/generate", `{"model":"tiny:latest","prompt":"hello"%s}`},
		{"generate with everything", "/api/generate", `{"model":"tiny:latest","prompt":"hello","system":"be brief","raw":false,"keep_alive":"5m","options":{"temperature":0,"num_predict":3}%s}`},
		{"generate, thinking", "/api/generate", `{"model":"tiny:latest","prompt":"think","think":true%s}`},
		{"load", "/api/generate", `{"model":"tiny:latest"%s}`},
		{"chat", "/api/chat", `{"model":"tiny:latest","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hello"}]%s}`},
		{"chat, thinking", "/api/chat", `{"model":"tiny:latest","messages":[{"role":"user","content":"think"}],"think":true%s}`},
		{"chat, thinking unasked", "/api/chat", `{"model":"tiny:latest","messages":[{"role":"user","content":"think"}]%s}`},
		{"chat, tools", "/api/chat", `{"model":"tiny:latest","messages":[{"role":"user","content":"weather"}],"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{}}}}]%s}`},
		{"chat, cut", "/api/chat", `{"model":"tiny:latest","messages":[{"role":"user","content":"hello you there"}],"options":{"num_predict":2}%s}`},
		{"chat, nothing", "/api/chat", `{"model":"tiny:latest","messages":[{"role":"user","content":"hi"}],"format":"","options":{"temperature":null},"unknown":1%s}`},
	} {
		for _, stream := range []string{"", `,"stream":true`, `,"stream":false`} {
			t.Run(row.name+stream, func(t *testing.T) {
				story(t, func(t *testing.T, c *client) {
					c.use(pool.Options{Slots: 2, Queue: 2}, rich())
					body := fmt.Sprintf(row.body, stream)
					want, got := c.askHost("POST", row.path, body), c.ask("POST", row.path, body)
					if stream == `,"stream":false` {
						want.header.Set("Content-Type", "application/json") // which the host gets wrong
					}
					compare(t, got, want)
				})
			})
		}
	}
}

var update = flag.Bool("update", false, "rewrite the files in testdata")

// TestAnswersInTheFormOfOpenAIAreAsRecorded holds them to a file, whose lines were compared with
// those of a real Ollama; package e2e compares them again.
func TestAnswersInTheFormOfOpenAIAreAsRecorded(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, row := range []struct{ name, path, body string }{
		{"completions", "/v1/completions", `{"model":"tiny:latest","prompt":"hello"%s}`},
		{"chat completions", "/v1/chat/completions", `{"model":"tiny:latest","messages":[{"role":"user","content":"hello"}],"temperature":0,"max_tokens":100,"stop":"x"%s}`},
		{"chat completions, usage", "/v1/chat/completions", `{"model":"tiny:latest","messages":[{"role":"user","content":"hello"}],"stream_options":{"include_usage":true}%s}`},
		{"chat completions, tools", "/v1/chat/completions", `{"model":"tiny:latest","messages":[{"role":"user","content":"weather"}],"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{}}}}]%s}`},
		{"chat completions, parts", "/v1/chat/completions", `{"model":"tiny:latest","messages":[{"role":"user","content":[{"type":"text","text":"hello"},{"type":"text","text":"there"}]}]%s}`},
		{"chat completions, thinking", "/v1/chat/completions", `{"model":"tiny:latest","messages":[{"role":"user","content":"think"}],"reasoning_effort":"high"%s}`},
		{"completions, usage", "/v1/completions", `{"model":"tiny:latest","prompt":"hello","stream_options":{"include_usage":true}%s}`},
		{"chat completions, nothing", "/v1/chat/completions", `{"model":"tiny:latest","messages":[{"role":"user","content":"hello"}],"max_tokens":0%s}`},
	} {
		for _, stream := range []string{"", `,"stream":true`} {
			story(t, func(t *testing.T, c *client) {
				c.use(pool.Options{Slots: 2, Queue: 2}, rich().TokenTime(time.Millisecond)) // so that pieces come one by one
				body := fmt.Sprintf(row.body, stream)
				got := c.ask("POST", row.path, body)
				fmt.Fprintf(&all, "## %s\n\nPOST %s %s\n\n%d %s\n%s\n\n", row.name, row.path, body, got.status, got.header.Get("Content-Type"), strings.TrimSpace(got.body))
			})
		}
	}
	const file = "testdata/openai.txt"
	if *update {
		if err := os.WriteFile(file, []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if all.String() != string(want) {
		t.Errorf("%s is not current; -update rewrites it. Got:\n%s", file, all.String())
	}
}

// compare holds a response to the one of the host, but for what varies and for how texts are cut
// into pieces.
func compare(t *testing.T, got, want reply) {
	t.Helper()
	if got.status != want.status {
		t.Errorf("got status %d, want %d: %s", got.status, want.status, got.body)
	}
	kind := func(r reply) string { k, _, _ := strings.Cut(r.header.Get("Content-Type"), ";"); return k }
	if kind(got) != kind(want) {
		t.Errorf("got %q, want %q", kind(got), kind(want))
	}
	g, w := without(joined(got.chunks(t)), varying...), without(joined(want.chunks(t)), varying...)
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got\n%s\nwant\n%s", toJSON(g), toJSON(w))
	}
}

func toJSON(v any) string {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // of values that came from JSON
	return text.String()
}

func TestModelsAreListedAndDescribedAsByTheHost(t *testing.T) {
	t.Parallel()
	story(t, func(t *testing.T, c *client) {
		c.aliases = map[string][]string{"helper": {"tiny"}}
		c.use(pool.Options{Slots: 2, Queue: 2}, rich())
		c.ask("POST", "/api/generate", `{"model":"tiny","prompt":"hello","stream":false}`)

		compare(t, c.ask("POST", "/api/show", `{"model":"tiny"}`), c.askHost("POST", "/api/show", `{"model":"tiny"}`))
		compare(t, c.ask("POST", "/api/show", `{"name":"helper"}`), c.askHost("POST", "/api/show", `{"model":"tiny"}`))
		compare(t, c.ask("GET", "/api/ps", ""), c.askHost("GET", "/api/ps", ""))
		compare(t, c.ask("GET", "/api/version", ""), c.askHost("GET", "/api/version", ""))

		var tags struct {
			Models []struct{ Name, Model, Digest string }
		}
		if err := json.Unmarshal([]byte(c.ask("GET", "/api/tags", "").body), &tags); err != nil {
			t.Fatal(err)
		}
		if len(tags.Models) != 2 || tags.Models[0].Name != "tiny:latest" || tags.Models[1].Name != "helper" || tags.Models[1].Digest != tags.Models[0].Digest {
			t.Errorf("got %+v, want the model, and the alias with what it stands for", tags)
		}
		var list struct{ Data []struct{ ID, Object string } }
		if err := json.Unmarshal([]byte(c.ask("GET", "/v1/models", "").body), &list); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(list.Data); got != "[{tiny:latest model} {helper model}]" {
			t.Errorf("got %s", got)
		}
		for name, status := range map[string]int{"tiny": 200, "TINY:latest": 200, "helper": 200, "absent": 404, "a b::": 400} {
			var one struct{ ID, Object string }
			got := c.ask("GET", "/v1/models/"+url.PathEscape(name), "")
			if err := json.Unmarshal([]byte(got.body), &one); err != nil {
				t.Fatal(err)
			}
			if got.status != status || status == 200 && (one.ID != name || one.Object != "model") {
				t.Errorf("%s: got %d %s", name, got.status, got.body)
			}
		}
		for _, path := range []string{"/api/tags", "/api/version"} {
			if got := c.ask("HEAD", path, ""); got.status != 200 {
				t.Errorf("HEAD %s: got %d", path, got.status)
			}
		}
	})
}

func TestEmbeddingsAreThoseOfTheHostInBothForms(t *testing.T) {
	t.Parallel()
	story(t, func(t *testing.T, c *client) {
		c.use(pool.Options{Slots: 2, Queue: 2}, rich())
		for _, body := range []string{`{"model":"tiny:latest","input":["a","b"]}`, `{"model":"tiny:latest","input":"c"}`, `{"model":"tiny:latest","input":"d","truncate":true,"dimensions":2}`} {
			compare(t, c.ask("POST", "/api/embed", body), c.askHost("POST", "/api/embed", body))
		}
		var floats struct {
			Data []struct {
				Embedding []float32
				Index     int
			}
			Usage struct {
				Prompt int `json:"prompt_tokens"`
			}
		}
		var texts struct{ Data []struct{ Embedding []byte } }
		var one struct{ Embedding []float32 }
		decode(t, c.ask("POST", "/v1/embeddings", `{"model":"tiny","input":["x","y"]}`).body, &floats)
		decode(t, c.ask("POST", "/v1/embeddings", `{"model":"tiny","input":["x","y"],"encoding_format":"base64"}`).body, &texts)
		decode(t, c.ask("POST", "/api/embeddings", `{"model":"tiny","prompt":"y"}`).body, &one)
		if len(floats.Data) != 2 || floats.Data[1].Index != 1 || floats.Usage.Prompt == 0 || len(texts.Data[0].Embedding) != 4*len(floats.Data[0].Embedding) || !reflect.DeepEqual(one.Embedding, floats.Data[1].Embedding) {
			t.Errorf("got %+v and %+v and %+v", floats, texts, one)
		}
		if got := c.ask("POST", "/api/embed", `{"model":"tiny","input":""}`); got.status != 200 || !strings.Contains(got.body, `"embeddings":[]`) {
			t.Errorf("of no text: got %d %s", got.status, got.body)
		}
	})
}

// These APIs have no form for a text that failed among others.
func TestTextThatCannotBeEmbeddedFailsTheWholeRequest(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1")
		c.use(pool.Options{}, host)
		host.FailWhen(func(call backendtest.Call) backendtest.Fault {
			if strings.Contains(string(call.Body), "bad") {
				return backendtest.Refuse(500, "json: unsupported value: NaN")
			}
			return nil
		})
		for _, path := range []string{"/api/embed", "/v1/embeddings"} {
			got := c.ask("POST", path, `{"model":"tiny","input":["x","bad","y"]}`)
			if got.status != 502 || !strings.Contains(got.body, "input[1]: ") || !strings.Contains(got.body, "NaN") || strings.Contains(got.body, "embedding\"") {
				t.Errorf("%s: got %d %s", path, got.status, got.body)
			}
		}
	})
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

func TestAnswersSayInHeadersWhatServedThem(t *testing.T) {
	t.Parallel()
	story(t, func(t *testing.T, c *client) {
		c.aliases = map[string][]string{"helper": {"absent", "tiny"}}
		c.use(pool.Options{Slots: 2, Queue: 2}, rich())
		const body = `{"model":"helper","prompt":"hello","stream":%v,"options":{"surprise":1}}`
		for _, streams := range []bool{false, true} {
			got := c.ask("POST", "/api/generate", fmt.Sprintf(body, streams))
			for header, want := range map[string]string{
				"X-Ollama-Mcp-Model": "tiny", "X-Ollama-Mcp-Host": "gpu-1", "X-Ollama-Mcp-Source": "local", "X-Ollama-Mcp-Rung": "2", "X-Ollama-Mcp-Trace": "trace-1",
			} {
				if got := got.header.Get(header); got != want {
					t.Errorf("streams %v: got %s: %q, want %q", streams, header, got, want)
				}
			}
			if note := got.header.Get("X-Ollama-Mcp-Note"); !strings.Contains(note, "surprise") {
				t.Errorf("streams %v: got the note %q, want one about the option that nobody knows", streams, note)
			}
		}
	})
}

func TestWhatOneFormOfRequestHasCachedServesTheOthers(t *testing.T) {
	t.Parallel()
	story(t, func(t *testing.T, c *client) {
		c.use(pool.Options{Slots: 2, Queue: 2}, rich())
		first := c.ask("POST", "/api/chat", `{"model":"tiny","messages":[{"role":"user","content":"hello"}],"options":{}}`)
		for _, again := range []reply{
			c.ask("POST", "/api/chat", `{"model":"tiny","messages":[{"role":"user","content":"hello"}],"stream":false,"tools":[]}`),
			c.ask("POST", "/v1/chat/completions", `{"model":"tiny","messages":[{"role":"user","content":"hello"}]}`),
			c.ask("POST", "/v1/chat/completions", `{"model":"tiny","messages":[{"role":"user","content":"hello"}],"stream":true}`),
		} {
			if got := again.header.Get("X-Ollama-MCP-Source"); got != "cache" {
				t.Errorf("got source %q, want cache: %s", got, again.body)
			}
		}
		resp, err := c.engine.Do(t.Context(), inference.Request{Common: inference.Common{Model: "tiny"}, Kind: inference.Chat, Messages: []backend.Message{{Role: "user", Content: "hello"}}})
		if err != nil || resp.Served.Source != inference.Cached || !strings.Contains(first.body, "hello") {
			t.Errorf("by a tool: got %+v, %v, want the cached answer", resp, err)
		}
		if got := c.ask("POST", "/api/chat", `{"model":"tiny","messages":[{"role":"user","content":"hello"}],"stream":false}`, "X-Ollama-MCP-Cache", "refresh").header.Get("X-Ollama-MCP-Source"); got != "local" {
			t.Errorf("with refresh: got source %q", got)
		}
		if calls := len(c.host.Calls()); calls != 2 {
			t.Errorf("the host was asked %d times, want 2", calls)
		}
	})
}

func TestNoteOfACachedAnswerNamesTheHeaderThatAsksForANewOne(t *testing.T) {
	t.Parallel()
	story(t, func(t *testing.T, c *client) {
		c.use(pool.Options{Slots: 2, Queue: 2}, rich())
		const body = `{"model":"tiny","prompt":"hello","stream":false}`
		c.ask("POST", "/api/generate", body)
		got := c.ask("POST", "/api/generate", body).header
		if note := got.Get("X-Ollama-Mcp-Note"); got.Get("X-Ollama-Mcp-Source") == "cache" && !strings.HasSuffix(note, "call again with the header X-Ollama-MCP-Cache: refresh.") {
			t.Errorf("the note is %q", note)
		}
	})
}

func TestErrorsHaveTheFormAndTheStatusOfTheirAPI(t *testing.T) {
	t.Parallel()
	const chat = `{"model":"tiny","messages":[{"role":"user","content":"hello"}]}`
	for _, row := range []struct {
		name, path, body string
		prepare          func(*client)
		header           string // and its value, in front of a colon
		status           int
		text             string // in the message
	}{
		{name: "no body", path: "/api/chat", status: 400, text: "missing request body"},
		{name: "no JSON", path: "/v1/chat/completions", body: "{", status: 400, text: "unexpected EOF"},
		{name: "wrong type", path: "/api/generate", body: `{"model":1}`, status: 400, text: "json: cannot unmarshal number into member model of type string"},
		{name: "wrong type deep inside", path: "/api/chat", body: `{"messages":[{"content":[1]}]}`, status: 400, text: "json: cannot unmarshal array into member messages.content of type string"},
		{name: "wrong type of options", path: "/v1/chat/completions", body: `{"stream_options":7}`, status: 400, text: "json: cannot unmarshal number into member stream_options of type object"},
		{name: "a list", path: "/v1/embeddings", body: `[]`, status: 400, text: "json: cannot unmarshal array into a value of type object"},
		{name: "invalid arguments", path: "/v1/chat/completions", body: `{"messages":[{"tool_calls":[{"function":{"name":"f","arguments":"nope"}}]}]}`, status: 400, text: "invalid tool call arguments"},
		{name: "invalid name of a model", path: "/api/chat", body: `{"model":"a b::","messages":[{"role":"user","content":"x"}]}`, status: 400, text: "invalid model name"},
		{name: "no model", path: "/api/generate", body: `{"prompt":"x"}`, status: 400, text: "model is required"},
		{name: "unknown model", path: "/api/generate", body: `{"model":"absent","prompt":"x"}`, status: 404, text: "model 'absent' not found"},
		{name: "unknown model, OpenAI", path: "/v1/completions", body: `{"model":"absent","prompt":"x","stream":true}`, status: 404, text: "model 'absent' not found"},
		{name: "unknown model to embed", path: "/v1/embeddings", body: `{"model":"absent","input":"x"}`, status: 404, text: `model "absent" not found, try pulling it first`},
		{name: "unknown model to show", path: "/api/show", body: `{"model":"absent"}`, status: 404, text: "model 'absent' not found"},
		{name: "context", path: "/api/generate", body: `{"model":"tiny","prompt":"x","context":[1]}`, status: 400, text: "/api/chat"},
		{name: "template", path: "/api/generate", body: `{"model":"tiny","prompt":"x","template":"y"}`, status: 400, text: "template"},
		{name: "shift", path: "/api/chat", body: `{"model":"tiny","messages":[],"shift":false}`, status: 400, text: "shift"},
		{name: "logprobs", path: "/api/chat", body: `{"model":"tiny","messages":[],"top_logprobs":21}`, status: 400, text: "top_logprobs must be between 0 and 20"},
		{name: "input", path: "/api/embed", body: `{"model":"tiny","input":[[1,2]]}`, status: 400, text: "invalid input type"},
		{name: "two answers", path: "/v1/chat/completions", body: `{"model":"tiny","n":2}`, status: 400, text: "n must be 1"},
		{name: "an image elsewhere", path: "/v1/chat/completions", body: `{"model":"tiny","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://127.0.0.1/x.png"}}]}]}`, status: 400, text: "image URLs are not currently supported"},
		{name: "effort", path: "/v1/chat/completions", body: `{"model":"tiny","reasoning_effort":"some","messages":[{"role":"user","content":"x"}]}`, status: 400, text: "invalid reasoning value"},
		{name: "header", path: "/api/chat", body: chat, header: "X-Ollama-MCP-Cache:never", status: 400, text: "auto, off or refresh"},
		{name: "timeout", path: "/api/chat", body: chat, header: "X-Ollama-MCP-Timeout:NaN", status: 400, text: "seconds"},
		{name: "model that does not think", path: "/api/generate", body: `{"model":"tiny","prompt":"x","think":true}`, prepare: func(c *client) {
			c.host.Fail(9, backendtest.Refuse(http.StatusBadRequest, `"tiny" does not support thinking`))
		}, status: 400, text: `use a model whose /api/show has the capability "thinking"`},
		{name: "no host", path: "/api/chat", body: chat, prepare: func(c *client) { c.host.Down() }, status: 503, text: "gpu-1"},
		{name: "no host, OpenAI", path: "/v1/chat/completions", body: chat, prepare: func(c *client) { c.host.Down() }, status: 503, text: "gpu-1"},
		{name: "rate", path: "/v1/chat/completions", body: chat, prepare: func(c *client) {
			c.refuse = &fault.Error{Code: fault.RateLimited, Message: "too fast", Retryable: true, RetryAfter: 2500 * time.Millisecond}
		}, status: 429, text: "too fast"},
		{name: "another's model", path: "/api/chat", body: chat, prepare: func(c *client) { c.who = caller.Caller{ID: "bob", Models: []string{"other"}} }, status: 403, text: "may not use"},
	} {
		t.Run(row.name, func(t *testing.T) {
			story(t, func(t *testing.T, c *client) {
				c.use(pool.Options{Slots: 2, Queue: 2}, rich())
				if row.prepare != nil {
					row.prepare(c)
				}
				var headers []string
				if name, value, ok := strings.Cut(row.header, ":"); ok {
					headers = []string{name, value}
				}
				got := c.ask("POST", row.path, row.body, headers...)
				if got.status != row.status {
					t.Errorf("got status %d, want %d", got.status, row.status)
				}
				message := ""
				if strings.HasPrefix(row.path, "/v1") {
					var e struct {
						Error struct{ Message, Type, Code string }
					}
					decode(t, got.body, &e)
					if message = e.Error.Message; e.Error.Type == "" || e.Error.Code == "" {
						t.Errorf("got %s, want a type and a code", got.body)
					}
				} else {
					var e struct{ Error string }
					decode(t, got.body, &e)
					message = e.Error
				}
				if !strings.Contains(message, row.text) || strings.Contains(message, "timeout_seconds") || strings.Contains(message, "list-models") {
					t.Errorf("got %q, want %q in it, and no words of tools", message, row.text)
				}
				if after := got.header.Get("Retry-After"); (after != "") != (row.status == 429 || row.status == 503) || row.status == 429 && after != "3" {
					t.Errorf("got Retry-After %q", after)
				}
			})
		})
	}
}

// records keeps what is told of calls that are over.
type records struct {
	mu  sync.Mutex // guards all
	all []inference.Record
}

func (r *records) Done(one inference.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, one)
}

func TestCallsAreRecordedUnderTheirRequests(t *testing.T) {
	t.Parallel()
	story(t, func(t *testing.T, c *client) {
		seen := new(records)
		c.opts.Observer = seen
		c.use(pool.Options{Slots: 2, Queue: 2}, rich())
		c.ask("POST", "/api/generate", `{"model":"tiny","prompt":"x","stream":false}`)
		c.ask("POST", "/v1/chat/completions", `{"model":"tiny","stream":true,"messages":[{"role":"user","content":"hello"}]}`)
		c.ask("POST", "/v1/embeddings", `{"model":"absent","input":"x"}`)
		c.ask("GET", "/api/tags", "")
		c.ask("GET", "/api/version", "") // which is no call
		var got []string
		for _, r := range seen.all {
			got = append(got, fmt.Sprintf("%s: %s %s, %d", r.HTTP, r.HTTP.Scheme, r.Tool, r.Status))
		}
		if want := []string{
			"POST /api/generate: http generate, 200", "POST /v1/chat/completions: http chat, 200", "POST /v1/embeddings: http embed, 404", "GET /api/tags: http list-models, 200",
		}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestCallerWhoFloodsOneFrontLeavesATurnToCallersOfOthers has one caller send many requests by
// OpenAI's API while another asks the engine as tools do.
func TestCallerWhoFloodsOneFrontLeavesATurnToCallersOfOthers(t *testing.T) {
	t.Parallel()
	story(t, func(t *testing.T, c *client) {
		c.use(pool.Options{Slots: 1, Queue: 1000}, backendtest.New("gpu-1").Answer("one two").TokenTime(time.Second))
		ann := func(prompt string) time.Duration {
			began := time.Now()
			if _, err := c.engine.Do(t.Context(), inference.Request{Common: inference.Common{Model: "tiny", Caller: caller.Caller{ID: "ann"}}, Prompt: prompt}); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		turn := ann("alone") // the time that one answer takes
		var flood sync.WaitGroup
		for i := range 50 {
			flood.Go(func() {
				w := httptest.NewRecorder()
				req := httptest.NewRequestWithContext(caller.NewContext(t.Context(), caller.Caller{ID: "bob", Tenant: "bob"}), "POST", "/v1/chat/completions", nil)
				for _, e := range c.gateway.Endpoints() {
					if e.Path == req.URL.Path {
						e.Serve(w, req, fmt.Appendf(nil, `{"model":"tiny","messages":[{"role":"user","content":"%d"}],"stream":true}`, i))
					}
				}
			})
		}
		synctest.Wait()
		for i := range 12 {
			if took := ann(fmt.Sprint("beside bob ", i)); took > 2*turn { // hers, and that of his which is under way
				t.Errorf("%d: ann got her answer after %v, and a turn takes %v", i, took, turn)
			}
		}
		flood.Wait()
	})
}

func TestPanicIsAnErrorOfItsRequestAlone(t *testing.T) {
	for _, body := range []string{`{"model":"new"}`, `{"model":"new","stream":false}`} {
		story(t, func(t *testing.T, c *client) {
			c.use(pool.Options{Slots: 1}, backendtest.New("gpu-1"))
			var log bytes.Buffer
			c.gateway = gateway.New(gateway.Options{
				Engine: c.engine, Log: slog.New(slog.NewTextHandler(&log, nil)),
				Manage: manage.New(manage.Options{Hosts: func() []backend.Backend { panic("what nobody thought of") }}),
				Admit:  func(context.Context, string) (func(), error) { return func() {}, nil },
				Trace:  func(http.Header) (string, inference.TraceContext) { return "trace-1", inference.TraceContext{} },
			})
			got := c.ask("POST", "/api/pull", body)
			if got.status != http.StatusInternalServerError || !strings.Contains(got.body, "internal error trace-1") || strings.Contains(got.body, "thought") {
				t.Errorf("%s: got %d %s", body, got.status, got.body)
			}
			if !strings.Contains(log.String(), "what nobody thought of") {
				t.Errorf("%s: the log has\n%s", body, &log)
			}
		})
	}
}
