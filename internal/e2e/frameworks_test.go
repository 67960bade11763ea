package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ollama-mcp/internal/e2e/clients"
	"ollama-mcp/internal/e2e/tinymodels"
)

// frameworks are libraries for agents, and the transports that they speak.
var frameworks = []struct {
	name       string
	transports []string
}{
	{"langchain", []string{"stdio", "http", "sse"}},
	{"ai-sdk", []string{"stdio", "http", "sse"}},
	{"openai-agents", []string{"stdio", "http", "sse"}},
	{"mastra", []string{"stdio", "http"}},
	{"genai", []string{"stdio", "http", "sse"}},
}

// What a framework makes of a result decides what its model learns, so the test reads what
// the model is sent.
func TestFrameworksTellTheirModelWhatAToolSays(t *testing.T) {
	clients.Install(t)
	url := serve(t, asShipped(command(deadline(t), shared.URL(), "--listen=127.0.0.1:0"))).url()
	for _, framework := range frameworks {
		for _, transport := range framework.transports {
			t.Run(framework.name+" over "+transport, func(t *testing.T) {
				t.Parallel()
				target := url
				if transport == "stdio" {
					target = program
				}
				a := startAgent(t, framework.name, transport, target)
				if told := a.tells("generate", `{`+hi+`}`, tinymodels.Says.Answer); len(told) > 1000 {
					t.Errorf("much is told beside the answer: %s", told)
				}
				a.tells("list-models", `{}`, "tiny-says", "tiny-words")
				cut := a.tells("generate", `{"model":"tiny-says","prompt":"hi","options":{"num_predict":3}}`, "The quick brown", "cut after 3 tokens")
				if strings.Contains(cut, "brownNote") {
					t.Errorf("the note is glued to the answer: %s", cut)
				}
				// The second answer is from the cache, and has to be read as the first was.
				for range 2 {
					a.tells("generate", `{"model":"tiny-json","prompt":"hi","format":{"type":"object"}}`, `"answer"`)
				}
				a.tells("generate", `{"model":"none","prompt":"hi"}`, "ollama pull none")
				a.tells("embed", `{"model":"tiny-words","input":["one","two","three","four","five","six","seven","eight"]}`, "ollama://embeddings/")
			})
		}
	}
}

// Frameworks do not begin a new session by themselves, so theirs has to outlive the server.
func TestAgentsOfFrameworksGoOnAfterARestartOverHTTP(t *testing.T) {
	clients.Install(t)
	for _, framework := range frameworks {
		t.Run(framework.name, func(t *testing.T) {
			t.Parallel()
			l := listen(t, "127.0.0.1:0")
			a := startAgent(t, framework.name, "http", l.url())
			a.tells("generate", `{`+hi+`}`, tinymodels.Says.Answer)
			l.stop()
			listen(t, l.addr)
			a.tells("generate", `{`+hi+`}`, tinymodels.Says.Answer)
		})
	}
}

// mcp-remote connects hosts that only start programs to a server elsewhere.
func TestTheServerIsReachedThroughMCPRemote(t *testing.T) {
	clients.Install(t)
	url := listen(t, "127.0.0.1:0").url()
	ctx := deadline(t)
	bridge, err := clients.Command(ctx, "mcp-remote/dist/proxy.js", url+"/mcp", "--transport", "http-only")
	if err != nil {
		t.Fatal(err)
	}
	bridge.Env = append(command(ctx, "").Env, "MCP_REMOTE_CONFIG_DIR="+t.TempDir())
	s := attach(t, ctx, bridge, "")
	if got := s.tools(); !slices.Equal(got, toolNames) {
		t.Errorf("the tools are %q", got)
	}
	if a := s.start("generate", `{`+hi+`}`).result(); a.text() != tinymodels.Says.Answer {
		t.Errorf("generate: got %+v", a)
	}
	wantError(t, s.start("generate", `{"model":"none","prompt":"hi"}`).result(), "model_not_found", "ollama pull none")
	// Since protocol version 2026-07-28 closing the stream cancels, which mcp-remote does not do.
	// So what a cancelled call has begun ends with the call's own time limit.
	p := s.start("generate", fmt.Sprintf(`{"model":"tiny-loops","prompt":%q,"timeout_seconds":20}`, fresh()))
	p.until(" tokens, ")
	before := ended(shared, "/api/generate")
	p.cancel()
	<-p.done
	eventually(t, "Ollama has stopped", func() bool { return ended(shared, "/api/generate") == before+1 })
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

// asShipped has a command put into the metadata of its results what it does by default.
func asShipped(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "OLLAMA_MCP_RESULT_META=") })
	return cmd
}

// agentEvent is what an agent says; clients/frameworks.mjs describes it.
type agentEvent struct {
	Ready       bool
	Text, Error string
}

func startAgent(t *testing.T, framework, transport, target string) *agent {
	t.Helper()
	ctx := deadline(t)
	model := new(recorder)
	api := httptest.NewServer(model)
	t.Cleanup(api.Close)
	cmd, err := clients.Command(ctx, "frameworks.mjs", framework, transport, target, api.URL)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(asShipped(command(ctx, shared.URL())).Env, "MASTRA_TELEMETRY_DISABLED=1")
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

// tells has the agent's model call a tool, and returns what the model is then told, in
// which each of the facts has to be.
func (a *agent) tells(tool, arguments string, facts ...string) (told string) {
	a.t.Helper()
	prompt := fmt.Sprintf(`{"tool":%q,"arguments":%s}`, tool, arguments)
	if err := json.NewEncoder(a.in).Encode(prompt); err != nil {
		a.t.Fatal(err)
	}
	if e := a.event(); !strings.Contains(e.Text, "done") {
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
