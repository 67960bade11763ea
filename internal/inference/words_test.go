package inference_test

import (
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/pool"
)

// What hosts say decides how often they are asked, what the caller is told, and that neither
// the hosts nor their other models are blamed.
func TestFailuresByTheHostsWordsAreNotTriedInVainAndBlameNoHost(t *testing.T) {
	const oom = "llama-server reported out-of-memory during startup: cudaMalloc failed: out of memory"
	for name, tc := range map[string]struct {
		status   int
		said     string
		calls    int // by one caller, one after another
		requests int // to both hosts together
		code     string
		hint     string
	}{
		"out of memory":          {500, oom, 6, 2, "upstream", "smaller options.num_ctx"},
		"out of memory, in JSON": {400, `tokenize error: {"error":{"code":500,"message":"CUDA error: out of memory"}}`, 6, 2, "upstream", "smaller options.num_ctx"},
		"died for want of it":    {500, "an error was encountered while running the model: CUDA error: out of memory", 1, 2, "upstream", "smaller options.num_ctx"},
		"bad tool call":          {500, "error parsing tool call: raw='{\"a\":', err=unexpected end of JSON input", 1, 2, "upstream", "simpler tools"},
		"broken model":           {500, "error loading model: unknown model architecture: 'x'", 1, 2, "upstream", "another model"},
		"too long":               {500, "the prompt is longer than the context length currently available to the model", 2, 2, "context_too_long", "send less"},
	} {
		story(t, func(t *testing.T, c *client) {
			a, b := backendtest.New("a"), backendtest.New("b")
			for _, host := range []*backendtest.Host{a, b} {
				host.Install(backendtest.Model{Name: "good"}).FailWhen(func(call backendtest.Call) backendtest.Fault {
					if call.Model != backendtest.Tiny {
						return nil
					}
					return backendtest.Refuse(tc.status, tc.said)
				})
			}
			c.useAll(pool.Options{Slots: 1}, a, b)
			for range tc.calls {
				got := c.fails("chat", `{"model":"tiny","messages":[{"role":"user","content":"?"}]}`, tc.code)
				if got.err.Retryable || !strings.Contains(got.err.Hint, tc.hint) {
					t.Errorf("%s: retryable %v, hint %q", name, got.err.Retryable, got.err.Hint)
				}
			}
			if n := len(a.Calls()) + len(b.Calls()); n != tc.requests {
				t.Errorf("%s: %d requests in %d calls, want %d", name, n, tc.calls, tc.requests)
			}
			for _, h := range c.status().Hosts.Hosts {
				if !h.Well || h.Breaker != "closed" {
					t.Errorf("%s: %s is %s", name, h.Name, h.Why)
				}
			}
			c.succeeds("generate", `{"model":"good","prompt":"?"}`)
		})
	}
}

func TestProcessThatIsGoneIsNoFaultOfTheTextAndAnotherHostAnswers(t *testing.T) {
	for _, said := range []string{
		"llama-server process no longer running: 134 GGML_ASSERT failed", `Post "http://127.0.0.1:40123/tokenize": EOF`, "llama runner process has terminated",
	} {
		story(t, func(t *testing.T, c *client) {
			words := backendtest.Model{Name: "words", Dimensions: 8}
			dead, well := backendtest.New("a").Install(words), backendtest.New("b").Install(words)
			dead.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Refuse(400, said) })
			c.useAll(pool.Options{Slots: 1}, dead, well)
			for range 2 {
				if got := c.succeeds("embed", `{"model":"words","input":["one","two"]}`); got.served.Host != "b" {
					t.Errorf("%s: served by %s", said, got.served.Host)
				}
			}
		})
	}
}
