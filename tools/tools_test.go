package tools_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/files"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/jobs"
	"ollama-mcp/internal/manage"
	"ollama-mcp/internal/quota"
	"ollama-mcp/internal/usage"
	"ollama-mcp/pool"
	"ollama-mcp/tools"
)

// story runs a test in which time is faked, with a client that calls tools: once with the
// cache on, as users run it, and once with the cache off. With it on, each call has a
// tenant of its own, so that no call is answered from the cache by accident; keeping undoes
// that.
func story(t *testing.T, tell func(t *testing.T, c *client)) {
	t.Helper()
	for _, mode := range []string{"cache on", "cache off"} {
		t.Run(mode, func(t *testing.T) { storyWith(t, &client{cacheOff: mode == "cache off"}, tell) })
	}
}

// cacheStory is a story about the cache itself: all calls share it.
func cacheStory(t *testing.T, tell func(t *testing.T, c *client)) {
	t.Helper()
	storyWith(t, &client{sharing: true}, tell)
}

func storyWith(t *testing.T, c *client, tell func(t *testing.T, c *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c.t = t
		tell(t, c)
	})
}

type client struct {
	t          *testing.T
	who        caller.Caller
	cacheOff   bool
	resultMeta string            // tools.Deps.ResultMeta
	sharing    bool              // what is cached is shared by all calls of a tenant
	files      *files.Dirs       // that the tools may use
	fileBytes  int64             // tools.Deps.FileBytes
	usage      *usage.Usage      // tools.Deps.Usage
	opts       inference.Options // what use leaves as it is
	engine     *inference.Engine
	manager    *manage.Manager
	deps       tools.Deps // of the tools
	tools      map[string]mcpserver.ToolHandlerFunc
	resources  []mcpserver.ServerResourceTemplate
}

// use makes the tools use a host, of which two calls may be worked on and two wait.
func (c *client) use(host *backendtest.Host) *backendtest.Host {
	c.t.Helper()
	c.useAll(pool.Options{Slots: 2, Queue: 2}, host)
	return host
}

// useAll makes the tools use the hosts through a pool of their own.
func (c *client) useAll(o pool.Options, hosts ...*backendtest.Host) {
	c.t.Helper()
	c.useHosts(c.pool(o, hosts...))
}

func (c *client) useHosts(hosts inference.Hosts) {
	c.t.Helper()
	o := c.opts
	o.Hosts, o.Timeout = hosts, 55*time.Second
	if c.cacheOff {
		o.CacheMode = "off"
	} else if o.Cache == (cache.Options{}) {
		o.Cache, o.CacheMode = cache.Options{Size: 1 << 20, TTL: 10 * time.Minute}, "auto"
	}
	engine, err := inference.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(engine.Close)
	c.engine = engine
	registry := jobs.New(jobs.Options{})
	c.t.Cleanup(registry.Close)
	c.manager = manage.New(manage.Options{Hosts: hosts.Hosts})
	deps := tools.Deps{Offer: everything, Engine: engine, Usage: c.usage, Manage: c.manager, Files: c.files, FileBytes: c.fileBytes, Jobs: registry, Documents: new(tools.Documents), Quota: new(quota.Quota), Log: slog.New(slog.DiscardHandler), InlineBytes: 4096, ResultMeta: c.resultMeta}
	c.deps, c.resources = deps, tools.Resources(deps)
	c.tools = map[string]mcpserver.ToolHandlerFunc{}
	for _, tool := range tools.All(deps) {
		c.tools[tool.Tool.Name] = tool.Handler
	}
}

func (c *client) pool(o pool.Options, hosts ...*backendtest.Host) *pool.Pool {
	c.t.Helper()
	for _, host := range hosts {
		o.Hosts = append(o.Hosts, host.Open(c.t))
	}
	p, err := pool.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (c *client) context() context.Context { return caller.NewContext(c.t.Context(), c.who) }

// tenants counts the calls that have a tenant of their own.
var tenants atomic.Int64

// answer is a result as a client reads it.
type answer struct {
	IsError           bool
	Content           []struct{ Type, Text, URI string }
	StructuredContent map[string]any
	Meta              struct {
		Served   map[string]any `json:"ollama-mcp/served"`
		Thinking string         `json:"ollama-mcp/thinking"`
		Notes    []string       `json:"ollama-mcp/notes"`
	} `json:"_meta"`
}

// try calls a tool. A Go error that leaves the tool is a bug.
func (c *client) try(ctx context.Context, tool, args string) (a answer, err error) {
	if who := caller.FromContext(ctx); who.Tenant == "" && !c.sharing {
		who.Tenant = fmt.Sprint("call ", tenants.Add(1))
		ctx = caller.NewContext(ctx, who)
	}
	var req mcp.CallToolRequest
	if err := json.Unmarshal([]byte(`{"params":{"name":"`+tool+`","arguments":`+args+`}}`), &req); err != nil {
		return a, err
	}
	res, err := c.tools[tool](ctx, req)
	if err != nil {
		return a, err
	}
	raw, err := json.Marshal(res)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal(raw, &a)
}

func (c *client) call(ctx context.Context, tool, args string) answer {
	c.t.Helper()
	a, err := c.try(ctx, tool, args)
	if err != nil {
		c.t.Fatalf("%s %s: %v", tool, args, err)
	}
	return a
}

// succeeds calls a tool and wants an answer.
func (c *client) succeeds(tool, args string) answer {
	c.t.Helper()
	a := c.call(c.context(), tool, args)
	if a.IsError {
		c.t.Fatalf("%s %s: %s", tool, args, a.Content[0].Text)
	}
	return a
}

// fails calls a tool and wants an error with that code and these words in it.
func (c *client) fails(tool, args, code string, words ...string) answer {
	c.t.Helper()
	a := c.call(c.context(), tool, args)
	if !a.IsError || a.StructuredContent["code"] != code {
		c.t.Fatalf("%s %s: got %+v, want the error %s", tool, args, a, code)
	}
	line := a.Content[0].Text
	if strings.Contains(line, "\n") {
		c.t.Errorf("%s %s: more than a line: %q", tool, args, line)
	}
	for _, word := range words {
		if !strings.Contains(line, word) {
			c.t.Errorf("%s %s: %q is not in %q", tool, args, word, line)
		}
	}
	return a
}

func TestGenerateReturnsTheTextAndWhatServedIt(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("quick brown fox").TokenTime(100 * time.Millisecond).LoadTime(2 * time.Second))
		a := c.succeeds("generate", `{"model":"tiny","prompt":"hello","system":"be brief","options":{"seed":7},"keep_alive":"1h"}`)
		if len(a.Content) != 1 || a.Content[0].Text != "quick brown fox" || a.StructuredContent != nil {
			t.Errorf("got %+v", a)
		}
		for key, want := range map[string]any{
			"requested_model": "tiny", "model": "tiny", "host": "gpu-1", "source": "local",
			"tokens_out": 3.0, "queue_ms": 0.0, "load_ms": 2000.0, "done_reason": "stop", "tokens_per_second": 10.0,
		} {
			if a.Meta.Served[key] != want {
				t.Errorf("served: %s is %v, want %v", key, a.Meta.Served[key], want)
			}
		}
		for _, key := range []string{"trace_id", "tokens_in", "first_token_ms", "total_ms"} {
			if a.Meta.Served[key] == nil {
				t.Errorf("served: no %s", key)
			}
		}
		sent := host.Calls()[0].Generate
		if sent.System != "be brief" || sent.Options["seed"] != 7.0 || sent.KeepAlive.Duration != time.Hour {
			t.Errorf("the host was sent %+v", sent)
		}
	})
}

func TestChatReturnsToolCalls(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").AnswerWith(func(c backendtest.Call) backendtest.Reply {
			last := c.Chat.Messages[len(c.Chat.Messages)-1]
			if last.Role == "tool" {
				return backendtest.Reply{Text: "It is " + last.Content}
			}
			var call backend.ToolCall
			call.Function.Name = "weather"
			call.Function.Arguments = json.RawMessage(`{"city":"Oslo"}`)
			return backendtest.Reply{ToolCalls: []backend.ToolCall{call}}
		}))
		const toolList = `[{"type":"function","function":{"name":"weather","description":"d","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]`
		a := c.succeeds("chat", `{"model":"tiny","messages":[{"role":"user","content":"weather?"}],"tools":`+toolList+`}`)
		calls, err := json.Marshal(a.StructuredContent["tool_calls"])
		if err != nil || !strings.Contains(string(calls), `"city":"Oslo"`) {
			t.Fatalf("got %+v, want a call of weather", a)
		}
		if !json.Valid([]byte(a.Content[0].Text)) {
			t.Errorf("clients that read only text get %q, which is not the calls as JSON", a.Content[0].Text)
		}
		a = c.succeeds("chat", `{"model":"tiny","messages":[{"role":"user","content":"weather?"},
			{"role":"assistant","tool_calls":`+string(calls)+`},{"role":"tool","tool_name":"weather","content":"sunny"}],"tools":`+toolList+`}`)
		if a.Content[0].Text != "It is sunny" {
			t.Errorf("got %q", a.Content[0].Text)
		}
	})
}

func TestToolsAndTheirCallsGoThroughAsTheyCame(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		const added = `{"id":"x","function":{"index":0,"name":"weather","arguments":{"station":1234567890123456789}},"extra_content":{"google":{"thought_signature":"c2ln"}}}`
		host := c.use(backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply {
			var call backend.ToolCall
			if err := json.Unmarshal([]byte(added), &call); err != nil {
				t.Error(err)
			}
			return backendtest.Reply{ToolCalls: []backend.ToolCall{call}}
		}))
		for given, sent := range map[string]string{
			`{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object","properties":{"x":{"$ref":"#/$defs/x"},"y":{"oneOf":[{"type":"string"}],"required":["z"]}},"$defs":{"x":{"maximum":1234567890123456789}}}}}`: "",
			`{"function":{"name":"f"}}`: `{"function":{"name":"f","parameters":{"properties":{},"type":"object"}},"type":"function"}`,
		} {
			if sent == "" {
				sent = given
			}
			a := c.succeeds("chat", `{"model":"tiny","cache":"off","messages":[{"role":"user","content":"weather?"}],"tools":[`+given+`]}`)
			if !strings.Contains(a.Content[0].Text, added) {
				t.Errorf("got %s, want %s", a.Content[0].Text, added)
			}
			c.succeeds("chat", `{"model":"tiny","cache":"off","messages":[{"role":"user","content":"?"},{"role":"assistant","tool_calls":[`+added+`]},{"role":"tool","content":"r"}]}`)
			all := host.Calls()
			if body := string(all[len(all)-2].Body); !strings.Contains(body, sent) {
				t.Errorf("sent %s, want %s", body, sent)
			}
			if body := string(all[len(all)-1].Body); !strings.Contains(body, added) {
				t.Errorf("sent %s, want %s", body, added)
			}
		}
	})
}

func TestConversationsThatDifferInOneDigitOfAToolCallAreTwo(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("done"))
		for _, id := range []string{"1234567890123456789", "1234567890123456790"} {
			c.succeeds("chat", `{"model":"tiny","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"id":`+id+`}}}]},{"role":"tool","content":"ok"}]}`)
			calls := host.Calls()
			if last := string(calls[len(calls)-1].Body); !strings.Contains(last, `"id":`+id) {
				t.Errorf("the host was sent %s, want the id %s", last, id)
			}
		}
		if n := len(host.Calls()); n != 2 {
			t.Errorf("the host was asked %d times, want twice", n)
		}
	})
}

func TestThinkingIsReturnedInMetaOnRequest(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").AnswerWith(func(backendtest.Call) backendtest.Reply {
			return backendtest.Reply{Thinking: "let me see", Text: "42"}
		}))
		a := c.succeeds("generate", `{"model":"tiny","prompt":"?","think":true}`)
		if a.Content[0].Text != "42" || a.Meta.Thinking != "let me see" {
			t.Errorf("got %+v", a)
		}
		if a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`); a.Meta.Thinking != "" {
			t.Errorf("thinking that nobody asked for: %q", a.Meta.Thinking)
		}
	})
}

func TestFormatReturnsStructuredContent(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer(`{"answer":42}`))
		const args = `{"model":"tiny","prompt":"?","format":{"type":"object","properties":{"answer":{"type":"integer"}},"required":["answer"]}}`
		if a := c.succeeds("generate", args); a.StructuredContent["answer"] != 42.0 || a.Content[0].Text != `{"answer":42}` {
			t.Errorf("got %+v", a)
		}
		host.Answer(`{"answer":"many"}`)
		a := c.fails("generate", args, "upstream", "does not fit the format", "/answer")
		if a.Content[1].Text != `{"answer":"many"}` {
			t.Errorf("the answer that did not fit is lost: %+v", a)
		}
	})
}

func TestFormatOfOpenAIIsTaken(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer(`{"n":4}`))
		for given, want := range map[string]string{
			`{"type":"json_object"}`: `"json"`,
			`{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{"type":"object","required":["n"]}}}`: `{"type":"object","required":["n"]}`,
			`{"type":"json_schema","name":"a","schema":{"type":"object","title":"json_schema"}}`:                          `{"type":"object","title":"json_schema"}`,
			`{"type":"object","enum":["json_object",{"n":4}]}`:                                                            `{"type":"object","enum":["json_object",{"n":4}]}`,
		} {
			host.Forget()
			c.succeeds("generate", `{"model":"tiny","prompt":"?","cache":"off","format":`+given+`}`)
			if calls := host.Calls(); string(calls[0].Generate.Format) != want {
				t.Errorf("%s: the host was asked for %s, want %s", given, calls[0].Generate.Format, want)
			}
		}
		c.fails("generate", `{"model":"tiny","prompt":"?","format":{"type":"json_schema"}}`, "invalid_argument", "not a valid JSON schema")
	})
}

func TestLengthOfVectorsThatTheModelDoesNotMakeIsNoted(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1")) // whose vectors have 64 numbers at most
		for args, want := range map[string]bool{`"dimensions":4`: false, `"dimensions":64`: false, `"dimensions":65`: true, `"output":"auto"`: false} {
			notes := fmt.Sprint(c.succeeds("embed", `{"model":"tiny","input":"a",`+args+`}`).StructuredContent["notes"])
			if strings.Contains(notes, "have 64 numbers") != want {
				t.Errorf("%s: the notes are %s", args, notes)
			}
		}
	})
}

func TestEmbedReturnsFewVectorsInlineAndManyAsAResource(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
		a := c.succeeds("embed", `{"model":"words","input":["one","two"]}`)
		if vectors := a.StructuredContent["vectors"].([]any); len(vectors) != 2 || a.StructuredContent["dimensions"] != 8.0 {
			t.Errorf("got %+v", a.StructuredContent)
		}

		words := make([]string, 100)
		for i := range words {
			words[i] = fmt.Sprint("word ", i)
		}
		many, err := json.Marshal(words)
		if err != nil {
			t.Fatal(err)
		}
		a = c.succeeds("embed", `{"model":"words","input":`+string(many)+`}`)
		uri, _ := a.StructuredContent["uri"].(string)
		if a.StructuredContent["vectors"] != nil || a.StructuredContent["count"] != 100.0 || len(a.Content) != 1 || !strings.Contains(a.Content[0].Text, uri) {
			t.Fatalf("got %+v, want the URI alone", a)
		}
		var doc struct{ Vectors [][]float32 }
		if text, err := c.read(uri); err != nil || json.Unmarshal([]byte(text), &doc) != nil || len(doc.Vectors) != 100 {
			t.Errorf("the resource holds %d vectors, %v", len(doc.Vectors), err)
		}
		if n := len(host.Calls()); n != 1+4 {
			t.Errorf("%d calls of the host, want one for 2 texts and 4 for 100", n)
		}
		if a := c.succeeds("embed", `{"model":"words","input":`+string(many)+`,"output":"inline"}`); a.StructuredContent["vectors"] == nil {
			t.Error("inline was asked for and not given")
		}

		time.Sleep(16 * time.Minute)
		if _, err := c.read(uri); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("after its time: %v", err)
		}
		if _, err := c.read("ollama://embeddings/guess"); err == nil {
			t.Error("a guessed address was served")
		}
	})
}

func TestWrongArgumentsNeverReachAHost(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1"))
		c.fails("generate", `{"model":"tiny","prompt":"?","temperature":1}`, "invalid_argument", `generate: unknown argument "temperature"`)
		c.fails("generate", `{"model":"tiny","prompt":"?","images":["aGVsbG8="]}`, "invalid_argument", "not an image")
		c.fails("generate", `{"model":"tiny","prompt":"?","format":{"type":"objekt"}}`, "invalid_argument", "not a valid JSON schema")
		c.fails("chat", `{"model":"tiny","messages":[]}`, "invalid_argument", "messages")
		c.fails("chat", `{"model":"tiny","messages":[{"role":"user"}],"tools":[{"type":"function","function":7}]}`, "invalid_argument")
		if calls := host.Calls(); len(calls) != 0 {
			t.Errorf("the host was asked: %+v", calls)
		}
	})
}

func TestPanicInAToolIsAnInternalErrorWithItsTrace(t *testing.T) {
	var logged strings.Builder
	engine, err := inference.New(inference.Options{Hosts: (*pool.Pool)(nil)}) // it panics when it is used
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	all := tools.All(tools.Deps{Engine: engine, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	var req mcp.CallToolRequest
	if err := json.Unmarshal([]byte(`{"params":{"arguments":{"model":"m","prompt":"secret"}}}`), &req); err != nil {
		t.Fatal(err)
	}
	res, err := all[0].Handler(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	e := res.StructuredContent.(*fault.Error)
	number := strings.TrimPrefix(e.Message, "generate: internal error ")
	if e.Code != fault.Internal || !strings.Contains(logged.String(), number) || strings.Contains(e.Error(), "nil pointer") {
		t.Errorf("got %+v; logged %q", e, logged.String())
	}
}

// read reads a resource.
func (c *client) read(uri string) (string, error) {
	ctx, end := context.WithCancel(c.context()) // as the server does once the answer has been taken
	defer end()
	return c.readIn(ctx, uri)
}

// readIn reads a resource in a request.
func (c *client) readIn(ctx context.Context, uri string) (string, error) {
	var req mcp.ReadResourceRequest
	req.Params.URI = uri
	contents, err := c.resources[0].Handler(ctx, req)
	if err != nil {
		return "", err
	}
	return contents[0].(mcp.TextResourceContents).Text, nil
}
