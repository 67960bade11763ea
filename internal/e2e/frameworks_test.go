package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ollama-mcp/internal/e2e/clients"
	"ollama-mcp/internal/e2e/tinymodels"
)

// A framework is a library for agents.
type framework struct {
	name       string
	transports []string
	progress   bool     // it shows what a tool reports
	aborts     []string // transports over which the end of a run reaches the server
	reconnects bool     // it opens a stream of SSE again that was lost
}

// Some show no progress, since they have no way to ask for it: the AI SDK neither sends a progress
// token nor shows notifications, and OpenAI Agents keep the client that would get them to
// themselves. Google's takes a client of the caller's, which can be given a handler.
var frameworks = []framework{
	{"langchain", []string{"stdio", "http", "sse"}, true, []string{"stdio", "http", "sse"}, true},
	{"ai-sdk", []string{"stdio", "http", "sse"}, false, []string{"http"}, false},
	{"openai-agents", []string{"stdio", "http", "sse"}, false, []string{"stdio", "http", "sse"}, true},
	{"openai-agents-responses", []string{"stdio", "http"}, false, []string{"stdio", "http"}, true},
	{"mastra", []string{"stdio", "http"}, true, []string{"stdio", "http"}, false},
	{"genai", []string{"stdio", "http", "sse"}, true, []string{"stdio", "http", "sse"}, true},
}

// What a framework makes of a result decides what its model learns, so the test reads what
// the model is sent.
func TestFrameworksTellTheirModelWhatAToolSays(t *testing.T) {
	clients.Install(t)
	for _, f := range frameworks {
		for _, transport := range f.transports {
			t.Run(f.name+" over "+transport, func(t *testing.T) {
				t.Parallel()
				ollama := startCounter(t, shared)
				target, restart := program, func() {}
				if transport != "stdio" {
					l := serve(t, command(deadline(t), ollama.URL, "--listen=127.0.0.1:0"))
					target, restart = l.url(), func() {
						l.stop()
						serve(t, command(deadline(t), ollama.URL, "--listen", l.addr))
					}
				}
				a := startAgent(t, f.name, transport, target, ollama.URL)
				a.isToldAll()
				if slices.Contains(f.aborts, transport) {
					a.stopsOllama(f, ollama)
				}
				if transport == "stdio" || transport == "sse" && !f.reconnects {
					return
				}
				// Frameworks do not begin a new session by themselves, so theirs has to outlive the server.
				restart()
				a.goesOn(transport == "sse")
			})
		}
	}
}

// isToldAll calls tools of which the model has to learn something beside the answer.
func (a *agent) isToldAll() {
	a.t.Helper()
	if told := a.tells("generate", `{`+hi+`}`, tinymodels.Says.Answer); len(told) > 1000 || strings.Contains(told, "tokens_in") {
		a.t.Errorf("much is told beside the answer: %s", told)
	}
	a.tells("list-models", `{}`, "tiny-says", "tiny-words")
	cut := a.tells("generate", `{"model":"tiny-says","prompt":"hi","options":{"num_predict":3}}`, "The quick brown", "cut after 3 tokens")
	if strings.Contains(cut, "brownNote") {
		a.t.Errorf("the note is glued to the answer: %s", cut)
	}
	// The second answer is from the cache, and has to be read as the first was.
	for range 2 {
		if told := a.tells("generate", `{"model":"tiny-json","prompt":"hi","format":{"type":"object"}}`, `"answer"`); strings.Contains(told, "Note") {
			a.t.Errorf("JSON has a note: %s", told)
		}
	}
	a.tells("generate", `{"model":"none","prompt":"hi"}`, "ollama pull none")
	const eight = `"model":"tiny-words","input":["one","two","three","four","five","six","seven","eight"]`
	a.tells("embed", `{`+eight+`}`, "ollama://embeddings/")
	if told := a.tells("embed", `{`+eight+`,"encoding":"base64"}`, `"vectors"`); strings.Contains(told, "ollama://") {
		a.t.Errorf("vectors that are short as base64 are out of reach: %s", told)
	}
}

// stopsOllama ends the run of an agent whose tool is at work. The time limit of the call is
// longer than the test waits.
func (a *agent) stopsOllama(f framework, ollama *counter) {
	a.t.Helper()
	a.begin("generate", fmt.Sprintf(`{"model":"tiny-loops","prompt":%q,"timeout_seconds":600}`, fresh()))
	eventually(a.t, "Ollama is at work", func() bool { return ollama.open("/api/generate") == 1 })
	for f.progress {
		if e := a.event(); strings.Contains(e.Progress, " tokens, ") {
			break
		}
	}
	a.send(map[string]bool{"abort": true})
	eventually(a.t, "Ollama has stopped", func() bool { return ollama.open("/api/generate") == 0 })
	if e := a.end(); e.Text != "" {
		a.t.Errorf("the run that was aborted ended with %+v", e)
	}
}

// goesOn calls a tool of a server that has been started again. A client that has to notice that
// its stream is lost may fail until it has opened another one.
func (a *agent) goesOn(mayFail bool) {
	a.t.Helper()
	if mayFail {
		eventually(a.t, "the agent has opened its stream again", func() bool {
			a.begin("generate", `{`+hi+`}`)
			a.end()
			return strings.Contains(a.model.takeTold(), tinymodels.Says.Answer)
		})
	}
	a.tells("generate", `{`+hi+`}`, tinymodels.Says.Answer)
}

// mcp-remote connects hosts that only start programs to a server elsewhere.
func TestTheServerIsReachedThroughMCPRemote(t *testing.T) {
	t.Parallel() // it waits for a time limit
	clients.Install(t)
	for transport, version := range map[string]string{"http": "", "sse": legacy} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			ollama := startCounter(t, shared)
			l := serve(t, command(deadline(t), ollama.URL, "--listen=127.0.0.1:0"))
			path := map[string]string{"http": "/mcp", "sse": "/sse"}[transport]
			ctx := deadline(t)
			bridge, err := clients.Command(ctx, "mcp-remote/dist/proxy.js", l.url()+path, "--transport", transport+"-only")
			if err != nil {
				t.Fatal(err)
			}
			bridge.Env = append(command(ctx, "").Env, "MCP_REMOTE_CONFIG_DIR="+t.TempDir())
			s := attach(t, ctx, bridge, version)
			if got := s.tools(); !slices.Equal(got, toolNames) {
				t.Errorf("the tools are %q", got)
			}
			answers := func() bool {
				p := s.start("generate", `{`+hi+`}`)
				<-p.done
				return p.err == nil && p.answer.text() == tinymodels.Says.Answer
			}
			if !answers() {
				t.Error("generate has no answer")
			}
			wantError(t, s.start("generate", `{"model":"none","prompt":"hi"}`).result(), "model_not_found", "ollama pull none")
			// Since protocol version 2026-07-28 closing the stream cancels, which mcp-remote does not do.
			// So what a cancelled call has begun ends with the call's own time limit.
			limit := map[string]int{"": 20, legacy: 600}[version]
			p := s.start("generate", fmt.Sprintf(`{"model":"tiny-loops","prompt":%q,"timeout_seconds":%d}`, fresh(), limit))
			p.until(" tokens, ")
			p.cancel()
			<-p.done
			eventually(t, "Ollama has stopped", func() bool { return ollama.open("/api/generate") == 0 })

			l.stop()
			serve(t, command(deadline(t), ollama.URL, "--listen", l.addr))
			eventually(t, "a server that was started again answers", answers)
		})
	}
}

// mcporter calls tools from a shell, and prints what the result says.
func TestMCPorterPrintsWhatAToolSays(t *testing.T) {
	url := listen(t, "127.0.0.1:0").url()
	for name, server := range map[string][]string{
		"stdio": {"--stdio", program, "--env", "OLLAMA_HOST=" + shared.URL(), "--name", "ollama"},
		"http":  {"--http-url", url + "/mcp", "--allow-http", "--name", "ollama"},
		"sse":   {"--http-url", url + "/sse", "--allow-http", "--name", "ollama"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, call := range []struct{ tool, args, want string }{
				{"generate", `{` + hi + `}`, tinymodels.Says.Answer},
				{"list-models", `{}`, "tiny-says"},
				{"generate", `{"model":"none","prompt":"hi"}`, "ollama pull none"},
			} {
				got := clients.Node(t, "mcporter/dist/cli.js", slices.Concat([]string{"call"}, server, []string{call.tool, "--args", call.args})...)
				if !strings.Contains(got.Stdout+got.Stderr, call.want) {
					t.Errorf("%s %s: got %+v, want %q in it", call.tool, call.args, got, call.want)
				}
			}
		})
	}
}

// agent is an agent of a framework, whose model calls the tools that the test names.
type agent struct {
	t     *testing.T
	model *recorder
	in    io.Writer
	out   *json.Decoder
}

// agentEvent is what an agent says; clients/frameworks.mjs describes it.
type agentEvent struct {
	Ready                 bool
	Progress, Text, Error string
}

func startAgent(t *testing.T, framework, transport, target, ollama string) *agent {
	t.Helper()
	ctx := deadline(t)
	model := new(recorder)
	api := httptest.NewServer(model)
	t.Cleanup(api.Close)
	cmd, err := clients.Command(ctx, "frameworks.mjs", framework, transport, target, api.URL)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(command(ctx, ollama).Env, "MASTRA_TELEMETRY_DISABLED=1")
	in, out, stderr := startPiped(t, cmd)
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", framework, err)
		}
		if t.Failed() {
			t.Logf("standard error of %s:\n%s", framework, stderr.tail())
		}
	})
	a := &agent{t, model, in, json.NewDecoder(bufio.NewReader(out))}
	if e := a.event(); !e.Ready {
		t.Fatalf("%s did not connect: %+v", framework, e)
	}
	return a
}

func (a *agent) event() (e agentEvent) {
	a.t.Helper()
	if err := a.out.Decode(&e); err != nil {
		a.t.Fatal(err)
	}
	return e
}

// end is the last event of a run.
func (a *agent) end() (e agentEvent) {
	a.t.Helper()
	for e = a.event(); e.Progress != ""; e = a.event() {
		continue
	}
	return e
}

func (a *agent) send(order any) {
	a.t.Helper()
	if err := json.NewEncoder(a.in).Encode(order); err != nil {
		a.t.Fatal(err)
	}
}

// begin has the agent's model call a tool.
func (a *agent) begin(tool, arguments string) {
	a.t.Helper()
	a.send(fmt.Sprintf(`{"tool":%q,"arguments":%s}`, tool, arguments))
}

// tells has the agent's model call a tool, and returns what the model is then told, in
// which each of the facts has to be.
func (a *agent) tells(tool, arguments string, facts ...string) (told string) {
	a.t.Helper()
	a.begin(tool, arguments)
	if e := a.end(); !strings.Contains(e.Text, "done") {
		a.t.Errorf("%s %s: the agent ended with %+v", tool, arguments, e)
	}
	told = a.model.takeTold()
	for _, fact := range facts {
		// Some frameworks put JSON into strings of JSON.
		if !strings.Contains(strings.ReplaceAll(told, `\`, ""), fact) {
			a.t.Errorf("%s %s: the model is not told %q but: %s", tool, arguments, fact, told)
		}
	}
	return told
}

// recorder is a model API as OpenAI and as Google have it. The model calls the tool that a
// prompt names, and is done when it gets the result, which is recorded.
type recorder struct {
	mu      sync.Mutex
	told    string
	answers atomic.Int64 // LangGraph replaces a message by a later one with its id
}

// takeTold returns the result that the model was sent last, and forgets it.
func (r *recorder) takeTold() (told string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	told, r.told = r.told, ""
	return told
}

func (r *recorder) tell(result string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = result
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var answer any
	var err error
	stream := false
	switch {
	case req.URL.Path == "/v1/chat/completions":
		answer, stream, err = r.openAI(req.Body)
	case req.URL.Path == "/v1/responses":
		answer, err = r.responses(req.Body)
	case strings.HasSuffix(req.URL.Path, ":generateContent"):
		answer, err = r.google(req.Body)
	default:
		http.NotFound(w, req)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if stream {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: %s\n\ndata: [DONE]\n\n", body)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// openAI answers a request for a chat completion, as one message or one chunk of a stream.
func (r *recorder) openAI(body io.Reader) (answer any, stream bool, err error) {
	var req struct {
		Stream   bool
		Messages []struct {
			Role    string
			Content json.RawMessage
		}
		Tools []struct{ Function struct{ Name string } }
	}
	if err := json.NewDecoder(body).Decode(&req); err != nil {
		return nil, false, err
	}
	last := req.Messages[len(req.Messages)-1]
	message, reason := map[string]any{"role": "assistant", "content": "done"}, "stop"
	if last.Role == "tool" {
		r.tell(joined(last.Content))
	} else {
		var names []string
		for _, tool := range req.Tools {
			names = append(names, tool.Function.Name)
		}
		name, arguments, err := wanted(joined(last.Content), names)
		if err != nil {
			return nil, false, err
		}
		message, reason = map[string]any{"role": "assistant", "content": nil, "tool_calls": []any{map[string]any{
			"index": 0, "id": "call_1", "type": "function",
			"function": map[string]any{"name": name, "arguments": string(arguments)},
		}}}, "tool_calls"
	}
	part, object := "message", "chat.completion"
	if req.Stream {
		part, object = "delta", "chat.completion.chunk"
	}
	return map[string]any{
		"id": fmt.Sprint(r.answers.Add(1)), "object": object, "created": 1, "model": "recorder",
		"choices": []any{map[string]any{"index": 0, part: message, "finish_reason": reason}},
		"usage":   map[string]any{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
	}, req.Stream, nil
}

// responses answers a request of OpenAI's newer API.
func (r *recorder) responses(body io.Reader) (answer any, err error) {
	var req struct {
		Input []struct{ Type, Role, Content, Output json.RawMessage }
		Tools []struct{ Name string }
	}
	if err := json.NewDecoder(body).Decode(&req); err != nil {
		return nil, err
	}
	last := req.Input[len(req.Input)-1]
	item := map[string]any{
		"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
		"content": []any{map[string]any{"type": "output_text", "text": "done", "annotations": []any{}}},
	}
	if string(last.Type) == `"function_call_output"` {
		r.tell(joined(last.Output))
	} else {
		var names []string
		for _, tool := range req.Tools {
			names = append(names, tool.Name)
		}
		name, arguments, err := wanted(joined(last.Content), names)
		if err != nil {
			return nil, err
		}
		item = map[string]any{"type": "function_call", "id": "fc_1", "call_id": "call_1", "status": "completed", "name": name, "arguments": string(arguments)}
	}
	return map[string]any{
		"id": fmt.Sprint("resp_", r.answers.Add(1)), "object": "response", "created_at": 1, "status": "completed", "model": "recorder", "output": []any{item},
		"usage": map[string]any{
			"input_tokens": 1, "output_tokens": 1, "total_tokens": 2,
			"input_tokens_details": map[string]any{"cached_tokens": 0}, "output_tokens_details": map[string]any{"reasoning_tokens": 0},
		},
	}, nil
}

// google answers a request to generate content.
func (r *recorder) google(body io.Reader) (answer any, err error) {
	var req struct {
		Contents []struct {
			Parts []struct {
				Text             string
				FunctionResponse json.RawMessage
			}
		}
		Tools []struct{ FunctionDeclarations []struct{ Name string } }
	}
	if err := json.NewDecoder(body).Decode(&req); err != nil {
		return nil, err
	}
	last := req.Contents[len(req.Contents)-1].Parts[0]
	part := map[string]any{"text": "done"}
	if last.FunctionResponse != nil {
		r.tell(string(last.FunctionResponse))
	} else {
		var names []string
		for _, tool := range req.Tools {
			for _, function := range tool.FunctionDeclarations {
				names = append(names, function.Name)
			}
		}
		name, arguments, err := wanted(last.Text, names)
		if err != nil {
			return nil, err
		}
		part = map[string]any{"functionCall": map[string]any{"name": name, "args": arguments}}
	}
	return map[string]any{"candidates": []any{map[string]any{
		"content": map[string]any{"role": "model", "parts": []any{part}}, "finishReason": "STOP",
	}}}, nil
}

// wanted reads from a prompt which tool to call. Frameworks offer the tools under names of
// their own, with a prefix or with other characters.
func wanted(prompt string, offered []string) (name string, arguments json.RawMessage, err error) {
	var order struct {
		Tool      string
		Arguments json.RawMessage
	}
	if err := json.Unmarshal([]byte(prompt), &order); err != nil {
		return "", nil, fmt.Errorf("prompt %q: %w", prompt, err)
	}
	plain := func(name string) string { return strings.ReplaceAll(name, "-", "_") }
	i := slices.IndexFunc(offered, func(name string) bool {
		return plain(name) == plain(order.Tool) || strings.HasSuffix(plain(name), "_"+plain(order.Tool))
	})
	if i < 0 {
		return "", nil, fmt.Errorf("%s is not among the tools %q", order.Tool, offered)
	}
	return offered[i], order.Arguments, nil
}

// joined is the content of a message as many servers give it to a model: the texts of its
// parts with nothing between them.
func joined(content json.RawMessage) string {
	var text string
	if json.Unmarshal(content, &text) == nil {
		return text
	}
	var parts []json.RawMessage
	if json.Unmarshal(content, &parts) != nil {
		return string(content)
	}
	var all strings.Builder
	for _, raw := range parts {
		var part struct{ Text *string }
		if json.Unmarshal(raw, &part) == nil && part.Text != nil {
			all.WriteString(*part.Text)
		} else {
			all.Write(raw)
		}
	}
	return all.String()
}
