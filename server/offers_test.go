package server_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

func TestWhatAServerOffersBesideToolsIsServed(t *testing.T) {
	opts := server.Options{
		Resources: []mcpserver.ServerResource{{
			Resource: mcp.NewResource("test://a", "a"),
			Handler: func(_ context.Context, r mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
				return []mcp.ResourceContents{mcp.TextResourceContents{URI: r.Params.URI, Text: "resource a"}}, nil
			},
		}},
		Prompts: []mcpserver.ServerPrompt{{
			Prompt: mcp.NewPrompt("p"),
			Handler: func(context.Context, mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
				return mcp.NewGetPromptResult("prompt p", nil), nil
			},
		}},
		Extra: []mcpserver.ServerOption{mcpserver.WithLogging(), mcpserver.WithCompletions()},
	}
	inBubble(t, opts, func(t *testing.T, r *remote) {
		a := r.post(initialize)
		for _, want := range []string{`"completions":{}`, `"logging":{}`, `"prompts":{}`, `"resources":{}`} {
			if !strings.Contains(a.body, want) {
				t.Errorf("initialize lacks %s: %s", want, a.body)
			}
		}
		session := a.Header.Get("Mcp-Session-Id")
		for body, want := range map[string]string{
			`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"test://a"}}`:     "resource a",
			`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"p"}}`:              "prompt p",
			`{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"debug"}}`:    `"result":{}`,
			`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"test://other"}}`: `"code":-32002,"message":"there is no resource \"test://other\"","data":{"uri":"test://other"}`,
		} {
			if a := r.postIn(session, body); !strings.Contains(a.body, want) {
				t.Errorf("%s got %s, want %s", body, a.body, want)
			}
		}
	})
}

// lost is a template of resources that are not there.
func lost() mcpserver.ServerResourceTemplate {
	return mcpserver.ServerResourceTemplate{
		Template: mcp.NewResourceTemplate("lost://{id}", "lost"),
		Handler: func(_ context.Context, r mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
			return nil, fmt.Errorf("%w: %s has expired", mcpserver.ErrResourceNotFound, r.Params.URI)
		},
	}
}

func TestResourceThatIsNotFoundIsNamedInBothEras(t *testing.T) {
	opts := server.Options{ResourceTemplates: []mcpserver.ServerResourceTemplate{lost()}}
	inBubble(t, opts, func(t *testing.T, r *remote) {
		session := r.initialize()
		for uri, says := range map[string]string{"lost://1": "lost://1 has expired", "other://1": "there is no resource"} {
			read := `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"` + uri + `","_meta":{"progressToken":1}}}`
			for code, a := range map[int]reply{
				mcp.RESOURCE_NOT_FOUND: r.postIn(session, read),
				mcp.INVALID_PARAMS:     r.post(modern(read), modernHeader("resources/read", uri)...),
			} {
				m := a.message()
				if m.Error == nil || m.Error.Code != code || !strings.Contains(m.Error.Message, says) ||
					!strings.Contains(a.body, `"data":{"uri":"`+uri+`"}`) {
					t.Errorf("%s, want code %d: got %s", uri, code, a.body)
				}
			}
		}
	})
}
