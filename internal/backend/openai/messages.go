package openai

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
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

	// What the model thought, for the server that the thoughts came from, under its name.
	Reasoning        json.RawMessage `json:"reasoning,omitempty"`
	ReasoningContent json.RawMessage `json:"reasoning_content,omitempty"`
}

// toolCall is a call in the API's form, with all that its server has added to it.
type toolCall struct{ backend.ToolCall }

// MarshalJSON writes the arguments as a text, which holds the JSON as it came.
func (c toolCall) MarshalJSON() ([]byte, error) {
	function, err := backend.WithMembers(struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	}{c.Function.Name, cmp.Or(string(c.Function.Arguments), "{}")}, c.Function.Rest)
	if err != nil {
		return nil, err
	}
	rest := maps.Clone(c.Rest)
	delete(rest, "index") // belongs to the parts of a streamed answer
	kind := json.RawMessage(`"function"`)
	if other := rest["type"]; other != nil {
		kind = other
		delete(rest, "type")
	}
	return backend.WithMembers(struct {
		ID       string          `json:"id"`
		Type     json.RawMessage `json:"type"`
		Function json.RawMessage `json:"function"`
	}{c.ID, kind, function}, rest)
}

// messages converts a chat to the API's form. There a result refers to its call by id,
// where Ollama's may use the tool's name. A call without an id gets one made of its
// position, so that the same chat always makes the same request. Thoughts go back only if
// the server wants them.
func messages(chat []backend.Message, withThoughts bool) []message {
	var open []toolCall // that have no result yet
	out := make([]message, len(chat))
	for i, m := range chat {
		out[i] = message{Role: m.Role, Content: content(m)}
		for j, call := range m.ToolCalls {
			call.Rest = maps.Clone(call.Rest)
			if withThoughts {
				for name, to := range map[string]*json.RawMessage{"reasoning": &out[i].Reasoning, "reasoning_content": &out[i].ReasoningContent} {
					if thoughts := call.Rest[name]; thoughts != nil {
						*to = thoughts
					}
				}
			}
			delete(call.Rest, "reasoning")
			delete(call.Rest, "reasoning_content")
			call.ID = cmp.Or(call.ID, fmt.Sprintf("call_%d_%d", i, j))
			out[i].ToolCalls = append(out[i].ToolCalls, toolCall{call})
			open = append(open, toolCall{call})
		}
		if withThoughts && m.Thinking != "" && out[i].Reasoning == nil && out[i].ReasoningContent == nil {
			out[i].ReasoningContent = quoted(m.Thinking)
		}
		if m.Role == "tool" {
			out[i].ToolCallID, open = answered(m, open)
		}
	}
	return out
}

// haveThoughts reports whether any message has thoughts, of its own or kept with its calls.
func haveThoughts(chat []backend.Message) bool {
	return slices.ContainsFunc(chat, func(m backend.Message) bool {
		return m.Thinking != "" || slices.ContainsFunc(m.ToolCalls, func(c backend.ToolCall) bool {
			return c.Rest["reasoning"] != nil || c.Rest["reasoning_content"] != nil
		})
	})
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
