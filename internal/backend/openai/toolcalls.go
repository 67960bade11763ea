package openai

import (
	"encoding/json"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
)

// fragment is a part of a tool call.
type fragment struct {
	Index    *remote.Number   `json:"index"`
	ID       remote.Label     `json:"id"`
	Function fragmentFunction `json:"function"`
	rest     backend.Members  // all other members
}

type fragmentFunction struct {
	Name      remote.Label `json:"name"`
	Arguments arguments    `json:"arguments"`
	rest      backend.Members
}

// UnmarshalJSON keeps the members that it does not know.
func (f *fragment) UnmarshalJSON(raw []byte) error {
	type plain fragment
	*f = fragment{}
	if err := remote.Decode(raw, (*plain)(f)); err != nil {
		return err
	}
	f.rest = others(raw, "index", "id", "function", "type")
	return nil
}

// UnmarshalJSON keeps the members that it does not know.
func (f *fragmentFunction) UnmarshalJSON(raw []byte) error {
	type plain fragmentFunction
	*f = fragmentFunction{}
	if err := remote.Decode(raw, (*plain)(f)); err != nil {
		return err
	}
	f.rest = others(raw, "name", "arguments", "index")
	return nil
}

// others are the members of an object other than those named, and other than null; nil for
// none.
func others(raw []byte, known ...string) backend.Members {
	var all backend.Members
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	for _, name := range known {
		delete(all, name)
	}
	for name, value := range all {
		if string(value) == "null" {
			delete(all, name)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// arguments are a part of the JSON text of a call's arguments, or the object itself.
type arguments []byte

func (a *arguments) UnmarshalJSON(raw []byte) error {
	*a = nil
	switch raw[0] {
	case '"':
		var text remote.Text
		if err := json.Unmarshal(raw, &text); err != nil {
			return err
		}
		*a = arguments(text)
	case '{':
		*a = append(*a, raw...)
	}
	return nil
}

// call is a tool call that is arriving in fragments.
type call struct {
	index          remote.Number
	id, name       string
	arguments      []byte // JSON, as far as it has arrived
	json           remote.Nesting
	rest, function backend.Members
}

// isWhole reports whether the arguments are complete.
func (c *call) isWhole() bool { return c.json.IsWhole(c.arguments) }

// addTo adds the fragment to the call that it belongs to, or begins a new one. It is the
// i-th of several in one event.
func (f *fragment) addTo(calls []*call, i, several int) []*call {
	at := f.find(calls, i, several)
	if at < 0 {
		index := remote.Number(len(calls))
		if f.Index != nil {
			index = *f.Index
		}
		at, calls = len(calls), append(calls, &call{index: index})
	}
	c := calls[at]
	if c.id == "" {
		c.id = string(f.ID)
	}
	c.addName(string(f.Function.Name))
	if !c.isWhole() {
		c.arguments = append(c.arguments, f.Function.Arguments...)
	}
	c.rest, c.function = merged(c.rest, f.rest), merged(c.function, f.Function.rest)
	return calls
}

// find returns which of the calls a fragment belongs to; -1 for a new one. Calls are told
// apart by index and id; but Gemini gives all of them the same index, other servers give no
// index or no id, or another id with each fragment. So a fragment that has all that a call
// begins with is a new call where the one before is complete.
func (f *fragment) find(calls []*call, i, several int) int {
	id, name := string(f.ID), string(f.Function.Name)
	at := len(calls) - 1
	switch {
	case f.Index != nil:
		for at >= 0 && calls[at].index != *f.Index {
			at--
		}
	case id != "":
		for at >= 0 && calls[at].id != id {
			at--
		}
		if at < 0 && name == "" { // the id is another each time
			at = len(calls) - 1
		}
	case several > 1: // each of them is of another call
		if at = i; at >= len(calls) {
			at = -1
		}
	}
	if at < 0 {
		return -1
	}
	c := calls[at]
	switch {
	case id != "" && c.id != "" && id != c.id && name != "":
		return -1
	case (id == "" || id != c.id) && name != "" && c.isWhole() && (name != c.name || len(f.Function.Arguments) > 0):
		return -1
	}
	return at
}

// addName adds to the name of the function. Some servers send it in parts, others repeat it
// in each fragment, or what they have of it so far.
func (c *call) addName(name string) {
	switch {
	case strings.HasPrefix(name, c.name):
		c.name = name
	case name != c.name:
		c.name += name
	}
}

func merged(into, more backend.Members) backend.Members {
	if into == nil {
		return more
	}
	for name, value := range more {
		into[name] = value
	}
	return into
}

func (c *call) complete() (backend.ToolCall, error) {
	complete := backend.ToolCall{ID: c.id, Rest: c.rest}
	complete.Function = backend.ToolCallFunction{Index: int(c.index), Name: c.name, Rest: c.function}
	given, err := backend.Arguments([]byte(remote.Valid(string(c.arguments))))
	if err != nil {
		return complete, &backend.Error{Class: backend.BadOutput, Message: "the arguments of the tool call " + c.name + " are not a JSON object"}
	}
	complete.Function.Arguments = given
	return complete, nil
}

// quoted is a text in JSON.
func quoted(text string) json.RawMessage {
	raw, err := json.Marshal(text)
	if err != nil {
		panic(err) // any text can be
	}
	return raw
}
