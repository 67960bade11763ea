package inference_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
)

func TestAnswersOfAVersionWithOtherDefaultsAreNotThoseOfThisOne(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		defaults := ""
		c.opts.Digest = func(context.Context, string) string { return "sha256:1" }
		c.opts.Defaults = func(string) string { return defaults }
		host := c.use(backendtest.New("gpu-1").Answer("yes"))
		c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
		c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
		defaults = "repeat_penalty 1.0"
		c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
		c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
		if n := len(host.Calls()); n != 2 {
			t.Errorf("the host was asked %d times, want once for each version", n)
		}
	})
}

func TestHostThatListsWhatItsModelsCanDoIsNotAskedForEach(t *testing.T) {
	for version, want := range map[string]int32{"0.17.4": 2, "0.34.0": 0} {
		story(t, func(t *testing.T, c *client) {
			host := backendtest.New("gpu-1").Version(version).Remove(backendtest.Tiny).Install(
				backendtest.Model{Name: "hears", Context: 4096, Capabilities: []string{"completion", "audio"}},
				backendtest.Model{Name: "words", Context: 512, Dimensions: 8, Capabilities: []string{"embedding"}},
			)
			var shown atomic.Int32
			host.Break(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
				if r.URL.Path == "/api/show" {
					shown.Add(1)
				}
				serve(w, r)
			})
			c.use(host)
			all, err := c.engine.List(t.Context(), caller.Caller{}, inference.Filter{Capability: "audio"})
			if err != nil || len(all.Hosts) != 1 || len(all.Hosts[0].Models) != 1 || all.Hosts[0].Details[0].Context != 4096 {
				t.Errorf("%s: got %+v and %v, want the model that hears", version, all, err)
			}
			if n := shown.Load(); n != want {
				t.Errorf("%s: %d models were shown, want %d", version, n, want)
			}
		})
	}
}
