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

// call is a tool call that is arriving in fragments.
type call struct {
	index     int
	id, name  string
	arguments []byte // JSON, as far as it has arrived
}

// addTo adds the fragment to the call that it belongs to, or begins a new one. Calls are
// told apart by index; Gemini gives all of them the same index, and an id to each.
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

func (c *call) complete() (backend.ToolCall, error) {
	complete := backend.ToolCall{ID: c.id}
	complete.Function.Index, complete.Function.Name = c.index, c.name
	if len(c.arguments) == 0 {
		return complete, nil
	}
	if json.Unmarshal(c.arguments, &complete.Function.Arguments) != nil {
		return complete, &backend.Error{Class: backend.Server, Message: "the arguments of the tool call " + c.name + " are not a JSON object"}
	}
	return complete, nil
}
