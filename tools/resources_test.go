package tools_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/tools"
)

// readURI reads a resource as a client does.
func (c *client) readURI(uri string) (text, mime string, err error) {
	c.t.Helper()
	all, templates := tools.Reads(c.deps, tools.All(c.deps))
	var req mcp.ReadResourceRequest
	req.Params.URI = uri
	var contents []mcp.ResourceContents
	found := false
	for _, r := range all {
		if r.Resource.URI == uri {
			found = true
			contents, err = r.Handler(c.context(), req)
		}
	}
	for _, r := range templates {
		if !found && r.Template.URITemplate.Regexp().MatchString(uri) {
			found = true
			contents, err = r.Handler(c.context(), req)
		}
	}
	if !found {
		c.t.Fatalf("there is no resource for %s", uri)
	}
	if err != nil {
		return "", "", err
	}
	one := contents[0].(mcp.TextResourceContents)
	return one.Text, one.MIMEType, nil
}

func TestResourcesAreWhatToolsAnswer(t *testing.T) {
	storyWith(t, &client{}, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "someone/model:8b"}).TokenTime(10 * time.Second).Answer("one two three"))
		for uri, want := range map[string]string{
			"ollama://models": `"name":"tiny:latest"`, "ollama://status": `"name":"gpu-1"`,
			"ollama://models/tiny": `"model":"tiny:latest"`, "ollama://models/someone/model:8b": `"model":"someone/model:8b"`,
			"ollama://models/someone%2Fmodel%3A8b": `"model":"someone/model:8b"`,
		} {
			text, mime, err := c.readURI(uri)
			if err != nil || mime != "application/json" || !json.Valid([]byte(text)) || !strings.Contains(text, want) {
				t.Errorf("%s: got %q of type %s, error %v, want %s", uri, text, mime, err, want)
			}
		}
		job := fmt.Sprint(c.succeeds("generate", `{"model":"tiny","prompt":"?","wait_seconds":0}`).StructuredContent["job"])
		if text, _, err := c.readURI("ollama://jobs/" + job); err != nil || !strings.Contains(text, `"state":"`) {
			t.Errorf("a job that runs is %q, error %v", text, err)
		}
		time.Sleep(time.Hour)
		if text, mime, err := c.readURI("ollama://jobs/" + job); err != nil || text != "one two three" || mime != "text/plain" {
			t.Errorf("a job that is done is %q of type %s, error %v", text, mime, err)
		}
		for _, uri := range []string{"ollama://models/nothere", "ollama://models/", "ollama://jobs/guess"} {
			if _, _, err := c.readURI(uri); !errors.Is(err, mcpserver.ErrResourceNotFound) {
				t.Errorf("%s: got %v, want that it is not found", uri, err)
			}
		}
	})
}

func TestResourcesHaveThePermissionsAndLimitsOfTheirTools(t *testing.T) {
	storyWith(t, &client{}, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1"))
		for uri, who := range map[string]caller.Caller{
			"ollama://models":      {ID: "a", Tools: []string{"status"}},
			"ollama://status":      {ID: "b", Tools: []string{"list-models"}},
			"ollama://models/tiny": {ID: "c", Models: []string{"other:*"}},
		} {
			_, _, err := c.as(who).readURI(uri)
			if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.Forbidden {
				t.Errorf("%s: got %v, want that it is forbidden", uri, err)
			}
		}
		limited := c.as(caller.Caller{ID: "d", Limits: caller.Limits{PerSecond: 1}})
		_, _, first := limited.readURI("ollama://models")
		_, _, second := limited.readURI("ollama://models")
		if e, ok := errors.AsType[*fault.Error](second); first != nil || !ok || e.Code != fault.RateLimited {
			t.Errorf("twice in a second: %v and %v", first, second)
		}
		c.deps.Offer = tools.Offer{Only: []string{"generate"}}
		if all, templates := tools.Reads(c.deps, tools.All(c.deps)); len(all) != 0 || slices.ContainsFunc(templates, func(r mcpserver.ServerResourceTemplate) bool { return r.Template.Name == "model" }) {
			t.Errorf("without the tools there are the resources %v", all)
		}
	})
}

func TestNamesAreCompleted(t *testing.T) {
	storyWith(t, &client{}, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").Remove("tiny").TokenTime(time.Minute)
		for _, name := range []string{"qwen3:8b", "Qwen3:32b", "coder-qwen", "llama3.2"} {
			host.Install(backendtest.Model{Name: name})
		}
		c.use(host)
		job := fmt.Sprint(c.succeeds("generate", `{"model":"llama3.2","prompt":"?","wait_seconds":0}`).StructuredContent["job"])
		complete := tools.Completions{Deps: c.deps}
		in := func(who caller.Caller) context.Context { return caller.NewContext(t.Context(), who) }
		for _, tc := range []struct {
			kind, name, typed string
			who               caller.Caller
			want              string
		}{
			{"prompt", "model", "QW", caller.Caller{}, "qwen3:32b qwen3:8b coder-qwen"},
			{"prompt", "model", "", caller.Caller{}, "coder-qwen llama3.2 qwen3:32b qwen3:8b"},
			{"prompt", "models", "llama3.2, co", caller.Caller{}, "llama3.2, coder-qwen"},
			{"prompt", "task", "x", caller.Caller{}, ""},
			{"ollama://models/{+name}", "name", "lla", caller.Caller{}, "llama3.2"},
			{"ollama://models/{+name}", "name", "", caller.Caller{ID: "a", Models: []string{"qwen3:8b"}}, "qwen3:8b"},
			{"ollama://models/{+name}", "name", "", caller.Caller{ID: "a", Tools: []string{"chat"}}, ""},
			{"ollama://jobs/{+id}", "id", "", caller.Caller{}, job},
			{"ollama://jobs/{+id}", "id", "", caller.Caller{ID: "someone else"}, ""},
			{"ollama://embeddings/{id}", "id", "", caller.Caller{}, ""},
		} {
			a := mcp.CompleteArgument{Name: tc.name, Value: tc.typed}
			got, err := complete.CompleteResourceArgument(in(tc.who), tc.kind, a, mcp.CompleteContext{})
			if tc.kind == "prompt" {
				got, err = complete.CompletePromptArgument(in(tc.who), "delegate", a, mcp.CompleteContext{})
			}
			if err != nil || strings.Join(got.Values, " ") != tc.want {
				t.Errorf("%+v: got %q, error %v", tc, got.Values, err)
			}
		}
		for i := range 150 {
			host.Install(backendtest.Model{Name: fmt.Sprintf("many:%d", i)})
		}
		got, err := complete.CompletePromptArgument(in(caller.Caller{}), "delegate", mcp.CompleteArgument{Name: "model", Value: "many"}, mcp.CompleteContext{})
		if err != nil || len(got.Values) != 100 || got.Total != 150 || !got.HasMore {
			t.Errorf("of 150 names got %d of %d, more %v, error %v", len(got.Values), got.Total, got.HasMore, err)
		}
	})
}

func TestPromptsAreForThoseWhoMayCallTheirTools(t *testing.T) {
	storyWith(t, &client{}, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1"))
		all := tools.Prompts(c.deps)
		if len(all) != 4 {
			t.Fatalf("there are %d prompts", len(all))
		}
		var req mcp.GetPromptRequest
		req.Params.Arguments = map[string]string{"task": "say hi", "model": "tiny"}
		got, err := all[0].Handler(c.context(), req)
		if err != nil || !strings.Contains(got.Messages[0].Content.(mcp.TextContent).Text, `Use the model "tiny"`) {
			t.Errorf("got %+v, error %v", got, err)
		}
		_, err = all[0].Handler(c.as(caller.Caller{ID: "a", Tools: []string{"embed"}}).context(), req)
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.Forbidden {
			t.Errorf("who may not call generate got %v", err)
		}
		few := c.deps
		few.Offer = tools.Offer{Only: []string{"embed"}}
		if got := tools.Prompts(few); len(got) != 0 {
			t.Errorf("without generate there are %d prompts", len(got))
		}
		few.Offer = tools.Offer{Snake: true}
		got, err = tools.Prompts(few)[2].Handler(c.context(), mcp.GetPromptRequest{Params: mcp.GetPromptParams{Arguments: map[string]string{"prompt": "?"}}})
		if err != nil || !strings.Contains(got.Messages[0].Content.(mcp.TextContent).Text, "list_models") {
			t.Errorf("with _ in the names of tools got %+v, error %v", got, err)
		}
	})
}
