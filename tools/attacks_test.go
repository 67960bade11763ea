package tools_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/jobs"
	"ollama-mcp/internal/quota"
	"ollama-mcp/tools"
)

// schemaOf is what a tool takes.
type schemaOf struct {
	Properties map[string]struct{ Type string }
	Required   []string
}

// everyTool is all tools that there are, with what each takes: a tool that is added joins the
// tables of attempts by itself.
func everyTool(t *testing.T, c *client) map[string]schemaOf {
	t.Helper()
	all := make(map[string]schemaOf)
	deps := tools.Deps{Offer: everything, Engine: c.engine, Manage: c.manager, Jobs: jobs.New(jobs.Options{}), Documents: new(tools.Documents), Quota: new(quota.Quota)}
	t.Cleanup(deps.Jobs.Close)
	for _, tool := range tools.All(deps) {
		var s schemaOf
		if err := json.Unmarshal(tool.Tool.RawInputSchema, &s); err != nil {
			t.Fatal(err)
		}
		all[tool.Tool.Name] = s
		c.tools[tool.Tool.Name] = tool.Handler
	}
	if len(all) < 6 {
		t.Fatalf("there are only %d tools", len(all))
	}
	return all
}

// filled are arguments that a tool would take, with another model where it takes one.
func filled(t *testing.T, s schemaOf, model string) (args string, takesModel bool) {
	t.Helper()
	values := map[string]any{
		"prompt": "?", "messages": []any{map[string]any{"role": "user", "content": "?"}}, "input": "?", "id": "guess",
		"labels": []string{"x", "y"}, "query": "?",
	}
	out := make(map[string]any)
	for _, name := range []string{"inputs", "documents"} { // one of several arguments that are needed
		if _, ok := s.Properties[name]; ok {
			out[name] = []string{"x"}
		}
	}
	for _, name := range s.Required {
		if value, ok := values[name]; ok {
			out[name] = value
		} else if name != "model" {
			out[name] = "x"
		}
	}
	if _, takesModel = s.Properties["model"]; takesModel {
		out["model"] = model
	}
	raw, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw), takesModel
}

// spellings are ways to write the name of a model that Ollama, or a careless check, could take
// for that model.
func spellings(name string) []string {
	bare := strings.TrimSuffix(name, ":latest")
	all := []string{
		bare, bare + ":latest", bare + ":LATEST", strings.ToUpper(bare), strings.ToUpper(bare[:1]) + bare[1:], strings.ToUpper(bare) + ":latest",
		"library/" + bare, "registry.ollama.ai/library/" + bare, "https://registry.ollama.ai/library/" + bare + ":latest", "http://registry.ollama.ai/library/" + bare,
		"REGISTRY.OLLAMA.AI/LIBRARY/" + bare, "LIBRARY/" + strings.ToUpper(bare), "//" + bare, "/" + bare, "./" + bare, "../" + bare, "library//" + bare,
		" " + bare, bare + " ", "\t" + bare, bare + "\n", bare + "\x00", "\ufeff" + bare, bare + "\u200b", bare + "\u00a0", bare + ":", bare + "::latest", bare + ":latest ",
		bare + ":latest:latest", bare + "@sha256:0", bare + "?x", bare + "#x", bare + "%20", "%" + "73" + bare[1:], bare + "*", "*", "", "?",
		strings.Replace(bare, "s", "ſ", 1), strings.Replace(bare, "e", "е", 1), strings.Replace(bare, "c", "с", 1), strings.Replace(bare, "s", "ｓ", 1),
		"open:1b," + bare, "open:1b " + bare, "open:1b/../" + bare, "open:1b\n" + bare, "open:1b:" + bare, "open/" + bare,
	}
	return all
}

func TestNoToolReachesAModelUnderAnotherSpellingOfItsName(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		const secret = "secret"
		host := c.use(backendtest.New("gpu-1").Install(
			backendtest.Model{Name: "open:1b", Capabilities: []string{"completion", "embedding"}},
			backendtest.Model{Name: secret, Capabilities: []string{"completion", "embedding", "tools"}}))
		all := everyTool(t, c)
		used := func() (n int) {
			for _, call := range host.Calls() {
				if backend.CanonicalModel(call.Model) == backend.CanonicalModel(secret) {
					n++
				}
			}
			return n
		}
		with := 0
		for _, models := range [][]string{{"open:1b"}, {"open*"}, {}, {"secre"}, {"secret:1b"}, {"SECRET:latest2"}} {
			for _, name := range slices.Sorted(maps.Keys(all)) {
				for _, spelling := range spellings(secret) {
					args, takesModel := filled(t, all[name], spelling)
					if !takesModel {
						continue
					}
					with++
					a := c.call(caller.NewContext(t.Context(), caller.Caller{ID: "ci", Tenant: "ci", Models: models, Admin: true}), name, args)
					if n := used(); n != 0 {
						t.Fatalf("with %q, %s of %q reached the model", models, name, spelling)
					}
					if code := a.StructuredContent["code"]; a.IsError && code != "forbidden" && code != "invalid_argument" && code != "model_not_found" {
						t.Errorf("with %q, %s of %q: got %v", models, name, spelling, a.StructuredContent)
					}
					if text := a.Content[0].Text; !strings.Contains(spelling, secret) && strings.Contains(text, secret) {
						t.Errorf("with %q, %s of %q names the model: %s", models, name, spelling, text)
					}
				}
			}
		}
		if with == 0 {
			t.Error("no tool takes a model")
		}
		// What is permitted is permitted in every spelling that Ollama takes for it.
		ci := c.as(caller.Caller{ID: "ci", Models: []string{"secret:latest"}})
		for _, spelling := range []string{"secret", "secret:latest", "library/secret"} {
			ci.succeeds("generate", `{"model":"`+spelling+`","prompt":"?"}`)
		}
	})
}

func TestNoToolIsCalledUnderAnotherSpellingOfItsName(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1"))
		all := everyTool(t, c)
		for name, s := range all {
			if name == "job" { // jobs belong to their owners, whatever these may call
				continue
			}
			args, _ := filled(t, s, "tiny")
			for _, permitted := range [][]string{
				{},
				{""},
				{"x" + name},
				{name + "x"},
				{strings.ToUpper(name)},
				{" " + name},
				{name + " "},
				{name[:len(name)-1]},
				{name + "\x00"},
				{"*" + name},
				{"?" + name[1:]},
				{strings.Replace(name, "e", "е", 1) + "\u200b"},
				{"x*"},
			} {
				who := c.as(caller.Caller{ID: "ci", Tools: permitted, Admin: true})
				who.fails(name, args, "forbidden", `"ci" may not call`)
			}
			if caller := (caller.Caller{Tools: []string{name}, Admin: true}); !tools.MayCall(caller, strings.ReplaceAll(name, "-", "_")) {
				t.Errorf("%s may not be called with _", name)
			}
		}
	})
}

func TestWhatTwoScopesAllowDoesNotCombineInAnyTool(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Install(
			backendtest.Model{Name: "own:1b", Capabilities: []string{"completion", "embedding"}},
			backendtest.Model{Name: "other:1b", Capabilities: []string{"completion", "embedding"}}))
		all := everyTool(t, c)
		with := 0
		for _, name := range slices.Sorted(maps.Keys(all)) {
			own := caller.Grant{Tools: []string{name}, Models: []string{"own:1b"}}
			other := caller.Grant{Tools: []string{"something-else"}, Models: []string{"other:1b"}, Admin: true}
			who := c.as(caller.Caller{
				ID: "ci", Tools: []string{name, "something-else"}, Models: []string{"own:1b", "other:1b"}, Admin: true, Grants: []caller.Grant{own, other},
			})
			args, takesModel := filled(t, all[name], "other:1b")
			if takesModel {
				with++
				who.fails(name, args, "forbidden")
			}
		}
		if with == 0 || len(host.Calls()) > 0 {
			t.Errorf("%d tools take a model; the host was sent %v", with, host.Calls())
		}
	})
}

// The heads of these images say that they have four billion pixels.
func TestNoToolPassesOnAnImageWithMorePixelsThanAHostCanDecode(t *testing.T) {
	const gif = "R0lGODlh/////wAAAA==" // GIF89a, 65535 × 65535
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1"))
		for name, args := range map[string]string{
			"generate": `{"model":"tiny","prompt":"?","images":["` + gif + `"]}`,
			"chat":     `{"model":"tiny","messages":[{"role":"user","content":"?","images":["data:image/gif;base64,` + gif + `"]}]}`,
		} {
			c.fails(name, args, "invalid_argument", "65535 × 65535 pixels")
		}
		if calls := host.Calls(); len(calls) > 0 {
			t.Errorf("the host was sent %v", calls)
		}
	})
}

// What a caller is given a name for, such as a job or vectors to be read, is as unknown to others as
// what there is not: in each argument of each tool, and at each address that can be read.
func TestNoNameOfWhatACallerKeepsOpensItForAnother(t *testing.T) {
	const secret = "what alice keeps"
	storyWith(t, &client{}, func(t *testing.T, c *client) {
		// An answer that was there at once would be no job.
		c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "tiny", Capabilities: []string{"completion", "embedding"}}).
			TokenTime(time.Second).AnswerWith(func(call backendtest.Call) backendtest.Reply {
			if strings.Contains(string(call.Body), "of alice") {
				return backendtest.Reply{Text: secret}
			}
			return backendtest.Reply{Text: "nothing"}
		}))
		handlers := maps.Clone(c.tools)
		all := everyTool(t, c)
		c.tools = handlers // which keep what c.resources read
		alice := c.as(caller.Caller{ID: "alice", Tenant: "alice"})
		bob := c.as(caller.Caller{ID: "bob", Tenant: "bob"})

		job := alice.succeeds("generate", `{"model":"tiny","prompt":"of alice","wait_seconds":0}`)
		id, _ := job.StructuredContent["job"].(string)
		vectors := alice.succeeds("embed", `{"model":"tiny","input":["of alice"],"output":"resource"}`)
		uri, _ := vectors.StructuredContent["uri"].(string)
		if a := alice.succeeds("job", `{"id":"`+id+`"}`); a.Content[0].Text != secret {
			t.Fatalf("alice's job got %+v", a)
		}
		if text, _, err := alice.readURI(uri); err != nil || text == "" {
			t.Fatalf("alice's vectors got %q, %v", text, err)
		}

		tried := 0
		for _, name := range slices.Sorted(maps.Keys(all)) {
			for property, kind := range all[name].Properties {
				if kind.Type != "string" {
					continue
				}
				for _, handle := range []string{id, uri, "ollama://jobs/" + id} {
					filledIn, _ := filled(t, all[name], "tiny")
					args := make(map[string]any)
					if err := json.Unmarshal([]byte(filledIn), &args); err != nil {
						t.Fatal(err)
					}
					try := func(handle string) string {
						args[property] = handle
						raw, err := json.Marshal(args)
						if err != nil {
							t.Fatal(err)
						}
						got, err := json.Marshal(bob.call(bob.context(), name, string(raw)).Content)
						if err != nil {
							t.Fatal(err)
						}
						return strings.ReplaceAll(string(got), handle, "HANDLE")
					}
					tried++
					theirs := try(handle)
					if strings.Contains(theirs, secret) {
						t.Errorf("%s with %s %q tells bob %s", name, property, handle, theirs)
					}
				}
			}
		}
		if tried < 30 {
			t.Errorf("only %d arguments were tried", tried)
		}
		guess := strings.Repeat("a", len(id))
		for _, action := range []string{"result", "cancel"} {
			theirs := bob.fails("job", `{"id":"`+id+`","action":"`+action+`"}`, "not_found").Content[0].Text
			unknown := bob.fails("job", `{"id":"`+guess+`","action":"`+action+`"}`, "not_found").Content[0].Text
			if strings.ReplaceAll(theirs, id, "HANDLE") != strings.ReplaceAll(unknown, guess, "HANDLE") {
				t.Errorf("%s: bob can tell alice's job from none: %q and %q", action, theirs, unknown)
			}
		}
		for _, address := range []string{uri, "ollama://jobs/" + id} {
			last := address[strings.LastIndex(address, "/")+1:]
			_, _, theirs := bob.readURI(address)
			_, _, unknown := bob.readURI(strings.ReplaceAll(address, last, strings.Repeat("a", len(last))))
			if theirs == nil || unknown == nil || strings.ReplaceAll(theirs.Error(), last, "HANDLE") != strings.ReplaceAll(unknown.Error(), strings.Repeat("a", len(last)), "HANDLE") {
				t.Errorf("%s: bob can tell it from none: %v and %v", address, theirs, unknown)
			}
		}
		if a := alice.succeeds("job", `{"id":"`+id+`"}`); a.Content[0].Text != secret {
			t.Errorf("afterwards alice's job got %+v", a)
		}
	})
}
