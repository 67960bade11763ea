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

func TestClientIsAskedOnlyForWhatItDeclared(t *testing.T) {
	for _, tt := range []struct{ capabilities, what, lacks string }{
		{`{}`, "form", `{"elicitation":{}}`},
		{`{}`, "url", `{"elicitation":{}}`},
		{`{"elicitation":{}}`, "url", `{"elicitation":{"url":{}}}`},
		{`{"elicitation":{"url":{}}}`, "form", `{"elicitation":{"form":{}}}`},
		{`{"elicitation":{}}`, "model", `{"sampling":{}}`},
		{`{"sampling":{}}`, "model with tools", `{"sampling":{"tools":{}}}`},
		{`{"sampling":{}}`, "folders", `{"roots":{}}`},
	} {
		t.Run(tt.capabilities+" "+tt.what, func(t *testing.T) {
			onEachTransport(t, server.Options{}, tt.capabilities, func(t *testing.T, a *asked) {
				a.send(callAsk("1", tt.what))
				got := a.next()
				if got.Error == nil || got.Error.Code != -32021 || !strings.Contains(got.line, `"requiredCapabilities":`+tt.lacks+"}") {
					t.Errorf("got %s, want that it lacks %s", got.line, tt.lacks)
				}
			})
		})
	}
}

// since2026 is a call of the protocol since 2026-07-28, by a client with those capabilities.
func since2026(call, capabilities string) string {
	return strings.Replace(modern(call), `clientCapabilities":{}`, `clientCapabilities":`+capabilities, 1)
}

func TestClientSince2026IsNotSentRequests(t *testing.T) {
	// Not even if the tool goes past what mcp-go would allow it.
	direct := says("direct", func(ctx context.Context, _ mcp.CallToolRequest) string {
		_, err := mcpserver.ClientSessionFromContext(ctx).(mcpserver.SessionWithRoots).ListRoots(context.Background(), mcp.ListRootsRequest{})
		return fmt.Sprint(err)
	})
	inBubble(t, with(direct), func(t *testing.T, r *remote) {
		a := r.post(since2026(call("1", "direct", "{}"), everything), modernHeader("tools/call", "direct")...)
		if got := a.messages(); len(got) != 1 || !strings.Contains(got[0].text(), "server-initiated requests are not supported") {
			t.Errorf("got %s", a.body)
		}
	})
}

func TestAnswerThatAsksIsOnlyForClientsThatCanBeAsked(t *testing.T) {
	wanting := tool("want", func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if name := r.GetString("lacks", ""); name != "" {
			return nil, fmt.Errorf("want: %w", mcp.MissingRequiredClientCapabilityError{Capability: name})
		}
		return mcpserver.NewInputRequestBuilder("").
			Roots("z").
			Elicit("a", mcp.ElicitationParams{Message: "?", RequestedSchema: map[string]any{"type": "object"}}).
			ToolResult(), nil
	})
	for _, tt := range []struct {
		capabilities, args string
		status             int
		part               string
	}{
		{everything, `{}`, 200, `"resultType":"input_required"`},
		{`{"elicitation":{}}`, `{}`, 400, `"code":-32021,"message":"missing required client capability: \"roots\"","data":{"requiredCapabilities":{"roots":{}}}`},
		{`{}`, `{}`, 400, `"data":{"requiredCapabilities":{"elicitation":{}}}`},
		{everything, `{"lacks":"sampling"}`, 400, `"code":-32021,"message":"want: missing required client capability: \"sampling\"","data":{"requiredCapabilities":{"sampling":{}}}`},
		{everything, `{"lacks":"extensions.example.com/x"}`, 400, `"data":{"requiredCapabilities":{"extensions":{"example.com/x":{}}}}`},
	} {
		t.Run(tt.capabilities+tt.args, func(t *testing.T) {
			inBubble(t, with(wanting), func(t *testing.T, r *remote) {
				a := r.post(since2026(call("1", "want", tt.args), tt.capabilities), modernHeader("tools/call", "want")...)
				if a.StatusCode != tt.status || !strings.Contains(a.body, tt.part) {
					t.Errorf("got %d, %s, want %d and %s", a.StatusCode, a.body, tt.status, tt.part)
				}
			})
		})
	}
}

func TestAnswerThatAsksIsAskedOfClientsBefore2026(t *testing.T) {
	wanting := tool("want", func(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		p := r.Params
		roots, form := mcpserver.RootsResponse(p.InputResponses, "z"), mcpserver.ElicitationResponse(p.InputResponses, "a")
		if roots != nil && form != nil {
			return mcp.NewToolResultText(fmt.Sprintf("%s %s %s %v", p.RequestState, roots.Roots[0].URI, form.Action, p.Arguments)), nil
		}
		return mcpserver.NewInputRequestBuilder("asked").
			Roots("z").
			Elicit("a", mcp.ElicitationParams{Message: "?", RequestedSchema: map[string]any{"type": "object"}}).
			ToolResult(), nil
	})
	onEachTransport(t, with(wanting), everything, func(t *testing.T, a *asked) {
		a.send(call("1", "want", `{"model":"m"}`))
		for range 2 { // both at once
			if q := a.question(); q.Method == "roots/list" {
				a.reply(q, `{"roots":[{"uri":"file:///home"}]}`)
			} else {
				a.reply(q, accepted)
			}
		}
		a.next().want(t, "the call", "1", "asked file:///home accept map[model:m]")
	})
}
