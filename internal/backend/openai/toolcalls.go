package openai

import (
	"encoding/json"

	"ollama-mcp/internal/backend"
)

// fragment is a part of a tool call.
type fragment struct {
	Index    int    `json:"index"`
	ID       string `json:"id"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

// call is a tool call on its way.
type call struct {
	index     int
	id, name  string
	arguments []byte // JSON, as far as it has come
}

// addTo adds the fragment to the call that it is of, or begins one. Calls go by
// their index; Gemini gives all the same, and an id to each.
func (f *fragment) addTo(calls []*call) []*call {
	at := len(calls) - 1
	for at >= 0 && calls[at].index != f.Index {
		at--
	}
	if at < 0 || f.ID != "" && calls[at].id != "" && f.ID != calls[at].id {
		at = len(calls)
		calls = append(calls, &call{index: f.Index})
	}
	c := calls[at]
	if c.id == "" {
		c.id = f.ID
	}
	c.name += f.Function.Name
	c.arguments = append(c.arguments, f.Function.Arguments...)
	return calls
}

func (c *call) whole() (backend.ToolCall, error) {
	whole := backend.ToolCall{ID: c.id}
	whole.Function.Index, whole.Function.Name = c.index, c.name
	if len(c.arguments) == 0 {
		return whole, nil
	}
	if json.Unmarshal(c.arguments, &whole.Function.Arguments) != nil {
		return whole, &backend.Error{Class: backend.Server, Message: "the arguments of the tool call " + c.name + " are not a JSON object"}
	}
	return whole, nil
}
