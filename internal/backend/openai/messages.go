package openai

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"

	"ollama-mcp/internal/backend"
)

// message is one message of a chat.
type message struct {
	Role       string     `json:"role"`
	Content    any        `json:"content"` // a text or parts; nil if there are only tool calls
	ToolCalls  []toolCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"` // the call that a result belongs to
}

type toolCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"` // JSON
	} `json:"function"`
}

// messages converts a chat to the API's form. There a result refers to its call by id,
// where Ollama's may use the tool's name. A call without an id gets one made of its
// position, so that the same chat always makes the same request.
func messages(chat []backend.Message) []message {
	var open []toolCall // that have no result yet
	out := make([]message, len(chat))
	for i, m := range chat {
		out[i] = message{Role: m.Role, Content: content(m)}
		for j, call := range m.ToolCalls {
			c := toolCall{ID: cmp.Or(call.ID, fmt.Sprintf("call_%d_%d", i, j)), Type: "function"}
			c.Function.Name, c.Function.Arguments = call.Function.Name, call.Function.Arguments.String()
			out[i].ToolCalls = append(out[i].ToolCalls, c)
			open = append(open, c)
		}
		if m.Role == "tool" {
			out[i].ToolCallID, open = answered(m, open)
		}
	}
	return out
}

// answered returns the id of the call that a result belongs to, and the calls that are
// still open. The id is empty if there is no such call, which the server will refuse.
func answered(result backend.Message, open []toolCall) (id string, rest []toolCall) {
	at := slices.IndexFunc(open, func(c toolCall) bool {
		if result.ToolCallID != "" {
			return c.ID == result.ToolCallID
		}
		return result.ToolName == "" || c.Function.Name == result.ToolName
	})
	if at < 0 {
		return result.ToolCallID, open
	}
	id = open[at].ID
	return id, slices.Delete(open, at, at+1)
}

func content(m backend.Message) any {
	switch {
	case len(m.Images) > 0:
		return parts(m)
	case m.Content == "" && len(m.ToolCalls) > 0:
		return nil
	}
	return m.Content
}

// parts are a text and the images that go with it.
func parts(m backend.Message) []map[string]any {
	var all []map[string]any
	if m.Content != "" {
		all = append(all, map[string]any{"type": "text", "text": m.Content})
	}
	for _, image := range m.Images {
		url := "data:" + http.DetectContentType(image) + ";base64," + base64.StdEncoding.EncodeToString(image)
		all = append(all, map[string]any{"type": "image_url", "image_url": map[string]string{"url": url}})
	}
	return all
}
