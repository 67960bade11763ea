package inference_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/pool"
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

// newOption are requests with an option that this program does not know.
var newOption = map[string]string{
	"generate": `{"model":"tiny","prompt":"?","options":{"seed":1,"tempo":3}}`,
	"chat":     `{"model":"tiny","messages":[{"role":"user","content":"?"}],"options":{"seed":1,"tempo":3}}`,
	"embed":    `{"model":"words","input":["?"],"options":{"seed":1,"tempo":3}}`,
}

// versioned is a host with models for text and for vectors.
func versioned(name, version string) *backendtest.Host {
	return backendtest.New(name).Version(version).Answer("yes").Install(backendtest.Model{Name: "words", Dimensions: 8})
}

func TestOptionsThatOnlyANewerHostMayHaveAreSentToNoOther(t *testing.T) {
	for version, passed := range map[string]bool{
		"0.17.4": false, "0.34.0": false, "0.34.0-rc2": false, "0.0.0": false, "": false, "new": false,
		"0.34.1": true, "0.35.0-rc0": true, "1.2.3": true,
	} {
		story(t, func(t *testing.T, c *client) {
			host := c.use(versioned("gpu-1", version))
			for kind, args := range newOption {
				before := len(host.Calls())
				if !passed {
					a := c.fails(kind, args, "invalid_argument", "does not have options.tempo")
					if n := len(host.Calls()) - before; n != 0 || a.err.Retryable {
						t.Errorf("%s, %s: sent %d times; %v", version, kind, n, a)
					}
					continue
				}
				a := c.succeeds(kind, args)
				if sent := host.Calls()[before].Options; sent["tempo"] != 3.0 || sent["seed"] != 1.0 || !strings.Contains(a.notes, "sent unchecked: tempo.") {
					t.Errorf("%s, %s: sent %v, notes %q", version, kind, sent, a.notes)
				}
			}
			if s := c.status().Hosts.Hosts[0]; s.Breaker != "closed" || len(s.Ejected) > 0 {
				t.Errorf("%s: %+v", version, s)
			}
		})
	}
}

func TestNewerHostAnswersWhatOthersDoNotSupport(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		older, oldest, newer := versioned("a", "0.24.0"), versioned("b", "0.17.4"), versioned("c", "0.40.0")
		c.useAll(pool.Options{Slots: 1, Retries: 1}, older, oldest, newer)
		for kind, args := range newOption {
			for range 3 {
				if a := c.succeeds(kind, args); a.served.Host != "c" {
					t.Errorf("%s: answered by %s", kind, a.served.Host)
				}
			}
		}
		newer.Remove(backendtest.Tiny) // and the others do not have the option
		c.fails("generate", newOption["generate"], "invalid_argument", "does not have options.tempo")
		if n := len(older.Calls()) + len(oldest.Calls()); n != 0 {
			t.Errorf("%d calls with the option were sent to hosts that do not have it", n)
		}
	})
}

func TestRungThatDoesNotSupportAnOptionIsPassed(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, cloud := c.ladder()
		host.Version("0.24.0")
		cloud.Version("0.40.0")
		a := c.succeeds("generate", `{"model":"pro","prompt":"?","options":{"tempo":3}}`)
		if len(host.Calls()) != 0 || len(a.served.Passed) != 2 || !strings.Contains(a.served.Passed[0], "options.tempo") {
			t.Errorf("passed %q", a.served.Passed)
		}
	})
}

func TestOptionThatAnOlderHostDropsIsSaid(t *testing.T) {
	for version, want := range map[string]string{"0.24.0": "gpu-1 does not support these options, so they were left out: draft_num_predict.", "0.34.0": "", "": ""} {
		story(t, func(t *testing.T, c *client) {
			host := c.use(versioned("gpu-1", version))
			for _, args := range []string{
				`{"model":"tiny","prompt":"?","options":{"seed":1,"draft_num_predict":8}}`,
				`{"model":"tiny","messages":[{"role":"user","content":"?"}],"options":{"seed":1,"draft_num_predict":8}}`,
			} {
				tool := "generate"
				if strings.Contains(args, "messages") {
					tool = "chat"
				}
				if a := c.succeeds(tool, args); a.notes != want {
					t.Errorf("%s, %s: got the notes %q, want %q", version, tool, a.notes, want)
				}
			}
			if got := len(host.Calls()); got != 2 {
				t.Errorf("%s: %d calls, want 2", version, got)
			}
		})
	}
}

// Two hosts may have different models under one name.
func TestWhatAModelCanDoIsKnownForEachHost(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		blind := backendtest.New("gpu-1").Answer("text").Install(backendtest.Model{Name: "m", Context: 4096, Capabilities: []string{"completion"}})
		sees := backendtest.New("gpu-2").Answer("a cat").Install(backendtest.Model{Name: "m", Context: 4096, Capabilities: []string{"completion", "vision"}})
		lists := make(map[string][]backend.Model)
		for _, host := range []*backendtest.Host{blind, sees} {
			listed, err := host.Open(t).Models(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i := range listed {
				listed[i].Digest = host.Name()
			}
			lists[host.Name()] = listed
		}
		var listed bool
		c.opts.Digest = func(context.Context, string) string { return "sha256:1" } // that of one of them
		c.opts.Listed = func(host, model string) (m backend.Model, ok bool) {
			for _, m := range lists[host] {
				if listed = backend.CanonicalModel(m.Name) == model; listed {
					return m, true
				}
			}
			return m, false
		}
		c.useAll(pool.Options{}, blind, sees)
		const ask = `{"model":"m","prompt":"what is it?","images":["iVBORw0KGgo="],"host":`
		c.fails("generate", ask+`"gpu-1"}`, "invalid_argument", "vision")
		if a := c.succeeds("generate", ask+`"gpu-2"}`); a.text != "a cat" || !listed {
			t.Errorf("got %+v", a)
		}
	})
}
