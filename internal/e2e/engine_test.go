package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	"ollama-mcp/internal/e2e/engine"
	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
)

func TestFailureOfTheEngineIsToldForWhatItIsAndNotHeldAgainstTheHost(t *testing.T) {
	t.Parallel()
	const noMemory = "cudaMalloc failed: out of memory\nerror loading model: unable to allocate CUDA0 buffer"
	ollama := ollamatest.Start(t, ollamatest.Options{
		Release: ollamatest.Newest, Models: []tinymodels.Model{tinymodels.Says, tinymodels.Says.Native(), tinymodels.Words},
	})
	calls := map[string]struct{ tool, path, args string }{
		"generate": {"generate", "/api/generate", `{"model":"tiny-says","prompt":%q}`},
		"chat":     {"chat", "/api/chat", `{"model":"tiny-says","messages":[{"role":"user","content":%q}]}`},
		"native":   {"chat", "/api/chat", `{"model":"tiny-says-native","messages":[{"role":"user","content":%q}]}`},
		"embed":    {"embed", "/api/embed", `{"model":"tiny-words","input":[%q]}`},
	}
	for name, tt := range map[string]struct {
		script    engine.Script
		loaded    bool // the model is in memory when the engine fails
		code      string
		retryable bool
		words     string // of the error
		most      int    // requests that the host may get for one call
		partial   string
	}{
		"no memory at the start": {engine.Script{AtStart: true, Stderr: noMemory}, false, "upstream", false, "num_ctx", 1, ""},
		"no memory":              {engine.Script{Status: 500, Body: `{"error":{"code":500,"message":"CUDA error: out of memory","type":"server_error"}}`}, true, "upstream", false, "num_ctx", 1, ""},
		"a prompt that is too long": {
			engine.Script{Status: 400, Body: `{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}`},
			true, "context_too_long", false, "send less", 1, "",
		},
		"exits when asked":      {engine.Script{Exit: true}, true, "upstream", false, "crashed", 2, ""},
		"exits after two words": {engine.Script{Exit: true, Pieces: 2}, true, "upstream", false, "crashed", 2, "The quick"},
	} {
		for way, call := range calls {
			if way == "embed" && tt.script.Pieces > 0 {
				continue // it has no pieces
			}
			t.Run(name+"/"+way, func(t *testing.T) {
				script(t, ollama, engine.Script{})
				if err := ollama.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				front := startCounter(t, ollama)
				ctx := deadline(t)
				s := attach(t, ctx, command(ctx, front.URL), "")
				ask := func() answer { return s.start(call.tool, fmt.Sprintf(call.args, fresh())).result() }
				if tt.loaded {
					if a := ask(); a.IsError {
						t.Fatalf("a healthy engine: %+v", a)
					}
				}
				script(t, ollama, tt.script)
				before := front.count(call.path)
				a := ask()
				asked := front.count(call.path) - before
				wantError(t, a, tt.code, tt.words)
				if a.StructuredContent["retryable"] != tt.retryable {
					t.Errorf("retryable is %v in %+v", a.StructuredContent["retryable"], a)
				}
				if asked > tt.most {
					t.Errorf("the host was asked %d times, want at most %d", asked, tt.most)
				}
				if tt.partial != "" && a.rest() != tt.partial {
					t.Errorf("beside the error: %q, want %q", a.rest(), tt.partial)
				}
				for range 4 {
					ask()
				}
				if hosts := s.succeeds("status", `{}`).StructuredContent["hosts"].([]any); hosts[0].(map[string]any)["breaker"] != "closed" {
					t.Errorf("after five of these the host is %v", hosts[0])
				}
				script(t, ollama, engine.Script{})
				other := calls["embed"]
				if way == "embed" {
					other = calls["generate"]
				}
				if a := s.start(other.tool, fmt.Sprintf(other.args, fresh())).result(); a.IsError {
					t.Errorf("another model of that host: %+v", a)
				}
			})
		}
	}
}

// A counter is a proxy before an Ollama that counts the requests for each path.
type counter struct {
	*httptest.Server
	mu           sync.Mutex // guards what follows
	paths, ended map[string]int
}

func startCounter(t *testing.T, ollama *ollamatest.Server) *counter {
	t.Helper()
	target, err := url.Parse(ollama.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{paths: map[string]int{}, ended: map[string]int{}}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, FlushInterval: -1}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.paths[r.URL.Path]++
		c.mu.Unlock()
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.ended[r.URL.Path]++
		}()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *counter) count(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paths[path]
}

// open is the number of requests for a path that have not ended.
func (c *counter) open(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paths[path] - c.ended[path]
}

// script tells a server's engine how to behave from now on.
func script(t *testing.T, ollama *ollamatest.Server, s engine.Script) {
	t.Helper()
	if err := ollama.Script(s); err != nil {
		t.Fatal(err)
	}
}
