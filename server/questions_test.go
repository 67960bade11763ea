package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/jsonrpc"
)

func TestQuestionsLeaveNothingBehind(t *testing.T) {
	s, err := New(Options{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	client := newSession()
	client.capabilities.Elicitation = &mcp.ElicitationCapability{}
	sent := 0
	r := s.newRequest(t.Context(), client, incoming{Message: jsonrpc.Message{Line: []byte("{}")}}, func([]byte) { sent++ })
	ctx, stop := context.WithCancel(t.Context())
	stop()
	const calls = 100
	for range calls {
		if _, err := r.RequestElicitation(ctx, mcp.ElicitationRequest{}); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
	if len(client.questions.open) != 0 || r.asking != 0 || sent != 2*calls {
		t.Errorf("%d questions are left, %d of the request; %d messages were sent, want %d", len(client.questions.open), r.asking, sent, 2*calls)
	}
}

// FuzzReply checks that whatever claims to be a reply ends the question that it names
// once, and no other, by a reply that a tool can rely on or by an error of one line.
func FuzzReply(f *testing.F) {
	for _, rest := range []string{
		`"id":"q","result":{"action":"accept","content":{"a":1}}`, `"id":"q","result":{"action":"decline","_meta":{"x":[]}}`,
		`"id":"q","result":{"role":"assistant","model":"m","content":[{"type":"text","text":"a"},{"type":"tool_use","id":"1","name":"x","input":{}}]}`,
		`"id":"q","result":{"role":"user","content":{"type":"tool_result","toolUseId":"1","content":[{"type":"image","data":"x","mimeType":"y"}]}}`,
		`"id":"q","result":{"roots":[{"uri":"file:///"}]}`, `"id":"q","error":{"code":-1,"message":"no\n"}`, `"id":"q","error":{"code":1e99}`,
		`"id":"\u0071","result":null`, `"id":"other","result":{}`, `"id":1,"result":{"action":7}`, `"id":null,"error":null`, `"result":[],"id":["q"]`,
		`"id":"q","id":"q","result":{"resultType":"input_required","inputRequests":{}},"error":{}`, `"id":"q","result":{"action":"accept"`,
	} {
		f.Add([]byte(`{"jsonrpc":"2.0",` + rest + `}`))
	}
	methods := []mcp.MCPMethod{mcp.MethodElicitationCreate, mcp.MethodSamplingCreateMessage, mcp.MethodListRoots}
	f.Fuzz(func(t *testing.T, line []byte) {
		var e jsonrpc.Envelope
		_, _ = e.Write(line)
		m := incoming{Message: e.Message(line)}
		for _, method := range methods {
			var open questions
			end, _ := open.add("q", method)
			other, _ := open.add("another", method)
			took := open.take(m)
			if left := len(open.open); took && left != 1 || !took && left != 2 || len(other)+len(end) != 2-left {
				t.Fatalf("%d questions are left, %d and %d have ended", left, len(end), len(other))
			}
			if len(end) == 0 {
				continue
			}
			if err := checkOutcome(<-end, method); err != nil {
				t.Errorf("%s: %v", method, err)
			}
		}
	})
}

func checkOutcome(o clientReply, method mcp.MCPMethod) error {
	if o.err != nil {
		if text := o.err.Error(); len(text) > 2500 || strings.ContainsAny(text, "\r\n") { // 200 characters, escaped
			return fmt.Errorf("the error is %q", text)
		}
		return nil
	}
	switch r := o.reply; {
	case method == mcp.MethodElicitationCreate && r.Elicitation != nil && r.Elicitation.Action != "":
	case method == mcp.MethodSamplingCreateMessage && r.Sampling != nil && r.Sampling.Content != nil:
	case method == mcp.MethodListRoots && r.Roots != nil && r.Roots.Roots != nil:
	default:
		return fmt.Errorf("the reply is %+v", r)
	}
	return nil
}
