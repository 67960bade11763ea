package e2e_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/internal/e2e/tinymodels"
)

// The protocol's revision since which a connection has no state, and the last before.
const (
	modern = "2026-07-28"
	legacy = "2025-11-25"
)

// toolNames are those of all tools, as they are listed.
var toolNames = []string{"chat", "choose", "clear-cache", "embed", "generate", "job", "list-models", "list-running", "load-model", "map", "rank", "show-model", "status", "unload-model", "usage"}

// client is a client written by others, connected to the program.
type client interface {
	protocol() string // negotiated revision; "" if the client does not tell
	tools() []string
	start(tool, args string) *pending
	// use calls a method other than those of tools, by its name in the TypeScript SDK.
	use(method, params string) (map[string]any, error)
}

// A place is where a client finds the program: the path of its file, or its address.
type place struct{ transport, target string }

// An sdk is a library for clients.
type sdk struct {
	name     string
	protocol string // revision that it speaks with a server of the latest one; "" if the client does not tell
	connect  func(*testing.T, place) client
}

var sdks = []sdk{
	{"Go SDK", modern, func(t *testing.T, at place) client {
		switch at.transport {
		case "http":
			return join(t, deadline(t), &mcp.StreamableClientTransport{Endpoint: at.target + "/mcp"}, "")
		case "sse":
			return join(t, deadline(t), &mcp.SSEClientTransport{Endpoint: at.target + "/sse"}, "")
		}
		ctx := deadline(t)
		cmd := exec.CommandContext(ctx, at.target)
		cmd.Env = command(ctx, shared.URL()).Env
		return attach(t, ctx, cmd, "")
	}},
	{"TypeScript SDK v1", "", func(t *testing.T, at place) client {
		return drive(t, "typescript-v1.mjs", at.transport, at.target)
	}},
	{"TypeScript SDK v2 as legacy", legacy, func(t *testing.T, at place) client {
		return drive(t, "typescript-v2.mjs", at.transport, at.target, "legacy")
	}},
	{"TypeScript SDK v2", modern, func(t *testing.T, at place) client {
		return drive(t, "typescript-v2.mjs", at.transport, at.target, "auto")
	}},
}

// A way is an SDK connected to a place.
type way struct {
	name     string
	protocol string // revision that should be negotiated
	alone    bool   // each client starts a program of its own
	connect  func(*testing.T) client
}

// ways are all SDKs over all transports of the program.
func ways(t *testing.T) []way {
	t.Helper()
	url := listen(t, "127.0.0.1:0").url()
	return waysTo(place{"stdio", program}, place{"http", url}, place{"sse", url})
}

func waysTo(places ...place) (all []way) {
	for _, at := range places {
		for _, sdk := range sdks {
			w := way{
				name: sdk.name + " over " + at.transport, protocol: sdk.protocol, alone: at.transport == "stdio",
				connect: func(t *testing.T) client { return sdk.connect(t, at) },
			}
			if at.transport == "sse" && w.protocol == modern { // which has no SSE
				w.protocol = legacy
			}
			all = append(all, w)
		}
	}
	return all
}

func TestEveryClientCanUseTheTools(t *testing.T) {
	for _, w := range ways(t) {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			c := w.connect(t)
			if got := c.protocol(); got != w.protocol {
				t.Errorf("it speaks %q, want %q", got, w.protocol)
			}
			// Having listed them, a client checks results against the schemas.
			if got := c.tools(); !slices.Equal(got, toolNames) {
				t.Errorf("the tools are %q", got)
			}
			if a := c.start("chat", `{"model":"tiny-says","messages":[{"role":"user","content":"hi"}]}`).result(); a.text() != tinymodels.Says.Answer {
				t.Errorf("chat: got %+v", a)
			}
			if a := c.start("generate", `{"model":"tiny-json","prompt":"hi","format":"json"}`).result(); a.StructuredContent["answer"] != 42.0 {
				t.Errorf("generate with a format: got %+v", a)
			}
			if a := c.start("embed", `{"model":"tiny-words","input":["one","two"]}`).result(); len(vectors(t, a)) != 2 {
				t.Errorf("embed: got %+v, want two vectors", a)
			}
			if a := c.start("list-models", `{"query":"tiny-says"}`).result(); a.IsError || a.StructuredContent == nil {
				t.Errorf("list-models: got %+v", a)
			}
			wantError(t, c.start("generate", `{"model":"tiny-says"}`).result(), "invalid_argument", `"prompt" is missing`)
			wantError(t, c.start("embed", `{"model":"none","input":"one"}`).result(), "model_not_found", "none")
			p := c.start("no-such-tool", `{}`)
			<-p.done
			if p.err == nil || !strings.Contains(p.err.Error(), "there are: chat, choose, clear-cache, embed") {
				t.Errorf("an unknown tool: got %+v, %v", p.answer, p.err)
			}
		})
	}
}

func vectors(t *testing.T, a answer) [][]float32 {
	t.Helper()
	raw, err := json.Marshal(a.StructuredContent["vectors"])
	if err != nil {
		t.Fatal(err)
	}
	var vectors [][]float32
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Errorf("%v: %+v", err, a)
	}
	return vectors
}

// With one slot, one call is answered and the others are queued, so that each report of
// progress shows whose it is. The clients count their calls alike, so that one that went
// to the wrong client would be taken for its own. Of progress that comes after an answer
// the TypeScript SDKs complain.
func TestProgressComesToTheClientThatItIsFor(t *testing.T) {
	url := serve(t, command(deadline(t), shared.URL(), "--listen=127.0.0.1:0", "--slots=1")).url()
	for _, transport := range []string{"http", "sse"} {
		t.Run(transport, func(t *testing.T) {
			ranks := []string{"1st", "2nd", "3rd"}
			var connected []client
			for _, w := range waysTo(place{transport, url}) { // first of all, since the first call never ends by itself
				connected = append(connected, w.connect(t))
			}
			var calls []*pending
			for n, c := range connected {
				p := c.start("generate", fmt.Sprintf(`{"model":"tiny-loops","prompt":%q}`, fresh()))
				words := " tokens, "
				if n > 0 {
					words = fmt.Sprintf("queued, %s of %d", ranks[n-1], n)
				}
				p.until(words)
				calls = append(calls, p)
			}
			for n, p := range calls {
				words, kind := " tokens, ", " tokens, "
				if n > 0 {
					words, kind = fmt.Sprintf("queued, %s of %d", ranks[n-1], len(calls)-1), "queued, "+ranks[n-1]
				}
				last := 0.0
				for range 2 {
					note := p.until("")
					for ; !strings.Contains(note.Message, words); note = p.until("") {
						if !strings.Contains(note.Message, kind) { // else it is from before the others came
							t.Errorf("call %d was told %q, want %q", n, note.Message, words)
						}
					}
					if note.Progress <= last {
						t.Errorf("call %d: after the value %v came %v", n, last, note.Progress)
					}
					last = note.Progress
				}
			}
			before := ended(shared, "/api/generate")
			for _, p := range slices.Backward(calls) { // or the next in the queue would be answered
				p.cancel()
				<-p.done
			}
			eventually(t, "Ollama has stopped", func() bool { return ended(shared, "/api/generate") > before })
			for _, c := range connected {
				c.tools() // SDKs complain if the cancellation is still on its way when they close
			}
		})
	}
}

// The last report comes right before the answer, where some servers lose it. So do the
// SDKs for TypeScript, if they have read the two together.
func TestEveryReportOfProgressComesInOrderAndBeforeTheAnswer(t *testing.T) {
	url := serveFixtures(t).url()
	fixtures, _ := buildFixtures() // which is what serves
	for _, at := range []place{{"stdio", fixtures}, {"http", url}, {"sse", url}} {
		for _, sdk := range sdks {
			t.Run(sdk.name+" over "+at.transport, func(t *testing.T) {
				t.Parallel()
				c := sdk.connect(t, at)
				calls := make([]*pending, 25)
				for i := range calls {
					calls[i] = c.start("test_tool_with_progress", `{}`)
				}
				for _, p := range calls {
					p.result()
					// The Go SDK may hand over the answer before it has handed over a report.
					eventually(t, "the reports have come", func() bool { return len(p.progress) == 3 })
					for _, want := range []float64{0, 50, 100} {
						if got := <-p.progress; got.Progress != want {
							t.Errorf("progress is %v, want %v", got.Progress, want)
						}
					}
				}
			})
		}
	}
}

// Not in parallel: the number of learned slots is unknown, and a generation without end
// occupies one.
func TestEveryClientCanCancelAndOllamaStops(t *testing.T) {
	for _, w := range ways(t) {
		t.Run(w.name, func(t *testing.T) {
			c := w.connect(t)
			p := c.start("generate", `{"model":"tiny-loops","prompt":"hi"}`)
			p.until(" tokens, ")
			before := ended(shared, "/api/generate")
			p.cancel()
			<-p.done
			if p.err == nil {
				t.Errorf("got %.300s, want that it was cancelled", p.answer.text())
			}
			eventually(t, "Ollama has stopped", func() bool { return ended(shared, "/api/generate") > before })
			if a := c.start("generate", `{`+hi+`}`).result(); a.text() != tinymodels.Says.Answer {
				t.Errorf("the call after it: got %+v", a)
			}
		})
	}
}

func TestEveryClientReadsResourcesCompletesNamesAndGetsPrompts(t *testing.T) {
	t.Parallel()
	for _, w := range ways(t) {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			c := w.connect(t)
			for _, tc := range []struct{ method, params, want string }{
				{"listResources", `{}`, `"uri":"ollama://models"`},
				{"listResourceTemplates", `{}`, `"uriTemplate":"ollama://models/{+name}"`},
				{"readResource", `{"uri":"ollama://models"}`, `\"name\":\"tiny-says:latest\"`},
				{"readResource", `{"uri":"ollama://models/tiny-says"}`, `\"model\":\"tiny-says:latest\"`},
				{"readResource", `{"uri":"ollama://status"}`, `\"name\":\"` + sharedHost()},
				{"listPrompts", `{}`, `"name":"summarize-files"`},
				{"getPrompt", `{"name":"delegate","arguments":{"task":"Name three rivers.","model":"tiny-says"}}`, `Name three rivers.`},
				{"complete", `{"ref":{"type":"ref/prompt","name":"delegate"},"argument":{"name":"model","value":"tiny-sa"}}`, `"values":["tiny-says"]`},
				{"complete", `{"ref":{"type":"ref/resource","uri":"ollama://models/{+name}"},"argument":{"name":"name","value":"tiny-w"}}`, `"values":["tiny-words"]`},
			} {
				got, err := c.use(tc.method, tc.params)
				if raw, _ := json.Marshal(got); err != nil || !strings.Contains(string(raw), tc.want) {
					t.Errorf("%s %s: got %.600s, %v, want %s", tc.method, tc.params, raw, err, tc.want)
				}
			}
			for method, params := range map[string]string{
				"readResource": `{"uri":"ollama://models/nowhere"}`,
				"getPrompt":    `{"name":"delegate","arguments":{}}`,
			} {
				if got, err := c.use(method, params); err == nil {
					t.Errorf("%s %s: got %v, want an error", method, params, got)
				}
			}
		})
	}
}
