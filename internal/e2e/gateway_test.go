package e2e_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/e2e/clients"
	"ollama-mcp/internal/e2e/ollamatest"
)

// gatewayTo starts the program as a gateway before an Ollama.
func gatewayTo(t *testing.T, ollama string, args ...string) *listening {
	t.Helper()
	return serve(t, command(deadline(t), ollama, append([]string{"--listen=127.0.0.1:0", "--gateway"}, args...)...))
}

// differing are members of answers that differ from one to the next, or that are not promised:
// see docs/gateway.md.
var differing = []string{
	"created_at", "created", "id", "total_duration", "load_duration", "prompt_eval_duration", "eval_duration", "context", "modified_at", "prompt_eval_cached_count",
	"pieces", "bytes", "prompt_tokens_details",
}

// strip removes members from a JSON value.
func strip(value any, names ...string) any {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range names {
			delete(v, name)
		}
		for _, member := range v {
			strip(member, names...)
		}
	case []any:
		for _, element := range v {
			strip(element, names...)
		}
	}
	return value
}

// TestProgramsForOllamaAndOpenAIGetTheSameFromTheGateway has programs that others wrote ask an
// Ollama, and the gateway before it, and compares all that they get.
func TestProgramsForOllamaAndOpenAIGetTheSameFromTheGateway(t *testing.T) {
	t.Parallel()
	clients.Install(t)
	run := func(address string) map[string]map[string]any {
		r := clients.Node(t, "gateway.mjs", address)
		var results map[string]map[string]any
		if err := json.Unmarshal([]byte(r.Stdout), &results); r.Exit != 0 || err != nil {
			t.Fatalf("%s: exit status %d, %v\n%s\n%s", address, r.Exit, err, r.Stdout, r.Stderr)
		}
		return results
	}
	direct, gateway := run(shared.URL()), run(gatewayTo(t, shared.URL()).url())
	for program, want := range direct {
		if failed := want["failed"]; failed != nil {
			t.Errorf("%s fails without the gateway: %v", program, failed)
		}
		for name, value := range want {
			got := gateway[program][name]
			if g, w := strip(got, differing...), strip(value, differing...); !reflect.DeepEqual(g, w) {
				t.Errorf("%s, %s: got\n%s\nwant\n%s", program, name, short(g), short(w))
			}
		}
	}
}

// short is a value as JSON of a few lines at most.
func short(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text[:min(len(text), 2000)])
}

// TestGoClientOfOllamaGetsTheSameFromTheGateway uses the library that Ollama's own command uses.
func TestGoClientOfOllamaGetsTheSameFromTheGateway(t *testing.T) {
	t.Parallel()
	get := func(address string) map[string]any {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		ctx, client, all := deadline(t), api.NewClient(u, http.DefaultClient), make(map[string]any)
		keep := func(name string, got any, err error) {
			if err != nil {
				got = err.Error()
			}
			raw, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			var value any
			if err := json.Unmarshal(raw, &value); err != nil {
				t.Fatal(err)
			}
			all[name] = strip(value, differing...)
		}
		keep("heartbeat", nil, client.Heartbeat(ctx))
		version, err := client.Version(ctx)
		keep("version", version, err)
		list, err := client.List(ctx)
		if err == nil { // Ollama has those of one second in any order
			slices.SortFunc(list.Models, func(a, b api.ListModelResponse) int { return strings.Compare(a.Name, b.Name) })
		}
		keep("list", list, err)
		show, err := client.Show(ctx, &api.ShowRequest{Model: "tiny-thinks"})
		keep("show", show, err)
		embed, err := client.Embed(ctx, &api.EmbedRequest{Model: "tiny-words", Input: "bread and butter"})
		keep("embed", embed, err)
		for _, model := range []string{"tiny-says", "tiny-toolcall", "absent"} {
			text, last := "", api.ChatResponse{}
			err := client.Chat(ctx, &api.ChatRequest{Model: model, Messages: []api.Message{{Role: "user", Content: "hello"}}, Options: map[string]any{"temperature": 0, "num_predict": 40}}, func(r api.ChatResponse) error {
				text, last = text+r.Message.Content, r
				return nil
			})
			last.Message.Content = text
			keep("chat "+model, last, err)
		}
		running, err := client.ListRunning(ctx)
		if err == nil && len(running.Models) == 0 {
			t.Errorf("%s: no model is in memory", address)
		}
		return all
	}
	want, got := get(shared.URL()), get(gatewayTo(t, shared.URL()).url())
	for name := range want {
		if !reflect.DeepEqual(got[name], want[name]) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, short(got[name]), short(want[name]))
		}
	}
}

// TestWrongRequestsAreRefusedByTheGatewayAsByOllama sends requests as people write them with curl.
func TestWrongRequestsAreRefusedByTheGatewayAsByOllama(t *testing.T) {
	t.Parallel()
	ask := func(address, method, path, body string) (status int, text string) {
		req, err := http.NewRequestWithContext(deadline(t), method, address+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		status, text = fetch(t, http.DefaultClient, req)
		var answer map[string]any
		if json.Unmarshal([]byte(text), &answer) != nil {
			return status, text
		}
		return status, short(strip(answer, append(differing, "code")...))
	}
	gateway := gatewayTo(t, shared.URL()).url()
	for _, row := range []struct {
		method, path, body string
		statusOnly         bool // the gateway says more, or says it otherwise
	}{
		{method: "POST", path: "/api/chat"},
		{method: "POST", path: "/api/chat", body: "{"},
		{method: "POST", path: "/api/chat", body: "[]", statusOnly: true},
		{method: "POST", path: "/api/chat", body: `{}`},
		{method: "POST", path: "/api/chat", body: `{"model":5}`, statusOnly: true},
		{method: "POST", path: "/api/chat", body: `{"model":"absent","messages":[{"role":"user","content":"x"}]} and more`},
		{method: "POST", path: "/api/chat", body: `{"model":"a b::","messages":[{"role":"user","content":"x"}]}`},
		{method: "POST", path: "/api/chat", body: `{"model":"tiny-says","messages":[{"role":"user","content":"x","images":["%"]}]}`},
		{method: "POST", path: "/api/chat", body: `{"model":"tiny-says","messages":[],"keep_alive":"abc"}`},
		{method: "POST", path: "/api/chat", body: `{"model":"tiny-says","messages":[{"role":"user","content":"x"}],"think":"wizard"}`},
		{method: "POST", path: "/api/generate", body: `{"model":"absent","prompt":"x"}`},
		{method: "POST", path: "/api/embed", body: `{"model":"absent","input":"x"}`},
		{method: "POST", path: "/api/embed", body: `{"model":"tiny-words","input":5}`, statusOnly: true},
		{method: "POST", path: "/api/embeddings", body: `{"model":"absent","prompt":"x"}`},
		{method: "POST", path: "/api/show", body: `{"model":"absent"}`},
		{method: "GET", path: "/api/chat", statusOnly: true},
		{method: "GET", path: "/api/nothing", statusOnly: true},
		{method: "HEAD", path: "/api/tags"},
		{method: "HEAD", path: "/api/version"},
		{method: "POST", path: "/v1/chat/completions", body: "{"},
		{method: "POST", path: "/v1/chat/completions", body: `{"model":"absent","messages":[{"role":"user","content":"x"}],"stream":true}`},
		{method: "POST", path: "/v1/chat/completions", body: `{"model":"tiny-says","messages":[]}`, statusOnly: true},
		{method: "POST", path: "/v1/chat/completions", body: `{"model":"tiny-says","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x/y.png"}}]}]}`},
		{method: "POST", path: "/v1/completions", body: `{"model":"a b::","prompt":"x"}`},
		{method: "POST", path: "/v1/embeddings", body: `{"model":"absent","input":"x"}`},
		{method: "GET", path: "/v1/models/tiny-says"},
		{method: "GET", path: "/v1/models/tiny-says:latest"},
		{method: "GET", path: "/v1/models/absent", statusOnly: true},
	} {
		wantStatus, want := ask(shared.URL(), row.method, row.path, row.body)
		status, got := ask(gateway, row.method, row.path, row.body)
		if status != wantStatus || got != want && !row.statusOnly {
			t.Errorf("%s %s %s: got %d %s, want %d %s", row.method, row.path, row.body, status, got, wantStatus, want)
		}
	}
}

// agoes are what the command says of times.
var agoes = regexp.MustCompile(`(?m)\s*(\d+ |About an? |Less than an? )?(seconds?|minutes?|hours?|days?|Forever)( ago| from now)?\s*$`)

// TestCommandOfOllamaWorksOnTheGateway runs the command with OLLAMA_HOST on the gateway.
func TestCommandOfOllamaWorksOnTheGateway(t *testing.T) {
	t.Parallel()
	binary, err := ollamatest.Binary(deadline(t), ollamatest.Usual)
	if err != nil {
		t.Fatal(err)
	}
	ollama := func(host string, args ...string) string {
		cmd := exec.CommandContext(deadline(t), binary, args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "OLLAMA_HOST=" + host}
		stdout, stderr, status := output(t, cmd)
		if status != 0 && args[1] != "absent" {
			t.Errorf("%s: %v: status %d\n%s\n%s", host, args, status, stdout, stderr)
		}
		if args[1:] != nil && args[1] == "absent" {
			return lastLine(stderr)
		}
		// Sizes, ids and names, but not how long ago something was, and in no order.
		lines := strings.Split(agoes.ReplaceAllString(stdout, ""), "\n")
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	gateway := gatewayTo(t, shared.URL()).url()
	for _, args := range [][]string{{"list", "tiny"}, {"show", "tiny-says"}, {"run", "tiny-says", "hello there"}, {"run", "tiny-thinks", "hello", "--think=true"}, {"show", "absent"}} {
		want, got := ollama(shared.URL(), args...), ollama(gateway, args...)
		if got != want || want == "" {
			t.Errorf("%v: got\n%s\nwant\n%s", args, got, want)
		}
	}
	if got := ollama(gateway, "ps", ""); !strings.Contains(got, "tiny-says") {
		t.Errorf("ps: got\n%s", got)
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// TestCacheAndLaddersServeAllFronts asks by one API what another has asked.
func TestCacheAndLaddersServeAllFronts(t *testing.T) {
	t.Parallel()
	config := t.TempDir() + "/config.yaml"
	if err := os.WriteFile(config, []byte("models:\n  helper: {try: [absent, tiny-says]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := gatewayTo(t, shared.URL(), "--config", config)
	ask := func(path, body string) (source, model string) {
		resp, err := http.DefaultClient.Do(request(t, "POST", l.url()+path, body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: status %d, %v: %s", path, resp.StatusCode, err, text)
		}
		return resp.Header.Get("X-Ollama-MCP-Source"), resp.Header.Get("X-Ollama-MCP-Model")
	}
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	call := func(args ...string) string {
		cmd := exec.CommandContext(ctx, program, append([]string{"call", "--url", l.url() + "/mcp", "--json"}, args...)...)
		stdout, stderr, status := output(t, cmd)
		if status != 0 {
			t.Fatalf("%v: %s", args, stderr)
		}
		return stdout
	}
	const messages = `[{"role":"user","content":"who jumps over whom?"}]`
	if source, _ := ask("/api/chat", `{"model":"tiny-says","messages":`+messages+`}`); source != "local" {
		t.Errorf("the first answer is from %s", source)
	}
	if got := call("chat", "model=tiny-says", "messages="+messages); !strings.Contains(got, `"source": "cache"`) && !strings.Contains(got, `"source":"cache"`) {
		t.Errorf("a tool does not get what /api/chat has cached: %s", got)
	}
	call("generate", "model=tiny-says", "prompt=asked by a tool")
	for path, body := range map[string]string{
		"/api/generate":        `{"model":"tiny-says","prompt":"asked by a tool","stream":false}`,
		"/v1/completions":      `{"model":"tiny-says","prompt":"asked by a tool","stream":true}`,
		"/v1/chat/completions": `{"model":"tiny-says","messages":` + messages + `}`,
	} {
		if source, _ := ask(path, body); source != "cache" {
			t.Errorf("%s: got an answer from %s, want the cached one", path, source)
		}
	}
	if source, model := ask("/api/chat", `{"model":"helper","messages":`+messages+`}`); source != "local" || !strings.HasPrefix(model, "tiny-says") {
		t.Errorf("the alias is answered by %s from %s", model, source)
	}
}

// TestSingleTextsOfManyCallersCostFewRequests has callers embed a text each, all at once.
func TestSingleTextsOfManyCallersCostFewRequests(t *testing.T) {
	t.Parallel()
	host := startCounter(t, shared)
	l := gatewayTo(t, host.URL, "--merge-window=1s")
	words := []string{"docker", "container", "image", "bread", "bake", "sourdough", "question", "cloud"}
	embed := func(address, caller, text string) (vector []float32) {
		body, err := json.Marshal(map[string]string{"model": "tiny-words", "input": text})
		if err != nil {
			t.Error(err)
			return nil
		}
		req := request(t, "POST", address+"/api/embed", string(body))
		req.Header.Set("User-Agent", caller)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return nil
		}
		defer resp.Body.Close()
		var got api.EmbedResponse
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || len(got.Embeddings) != 1 {
			t.Errorf("%s: status %d, %v, %d vectors", text, resp.StatusCode, err, len(got.Embeddings))
			return nil
		}
		return got.Embeddings[0]
	}
	merged := make(map[string][]float32)
	var mu sync.Mutex // guards merged
	var all sync.WaitGroup
	for i, one := range words {
		for _, other := range words {
			all.Go(func() {
				text := one + " " + one + " " + other // so that no two have the same words as often
				vector := embed(l.url(), "caller-"+strconv.Itoa(i), text)
				mu.Lock()
				defer mu.Unlock()
				merged[text] = vector
			})
		}
	}
	all.Wait()
	if n := host.count("/api/embed"); n > len(merged)/2 {
		t.Errorf("%d texts cost %d requests", len(merged), n)
	}
	for text, vector := range merged {
		if !strings.HasSuffix(text, words[0]) { // one in eight
			continue
		}
		alone := embed(shared.URL(), "direct", text)
		if len(vector) != len(alone) || cosine(vector, alone) < 0.9999 {
			t.Errorf("%s: got another vector than for the text alone", text)
		}
	}
}
