package backend

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// Tool is a function that a model may call: the JSON that describes it, as its author wrote
// it. Hosts want a type and parameters, so these are added where they are missing.
type Tool struct{ json.RawMessage }

// Members are the members of a JSON object by their names.
type Members map[string]json.RawMessage

// ToolCall is a call of a function that a model wants to have made. What a host has added
// to it, such as a signature, is kept as it came, since the host may want it back with the
// result of the call.
type ToolCall struct {
	ID       string
	Function ToolCallFunction
	Rest     Members // all other members
}

// ToolCallFunction is the function of a call and what it is called with.
type ToolCallFunction struct {
	Index     int
	Name      string
	Arguments json.RawMessage // an object; nil for {}
	Rest      Members         // all other members
}

// UnmarshalJSON keeps a tool as it is, but for what is missing.
func (t *Tool) UnmarshalJSON(raw []byte) error {
	var tool, function, parameters Members
	if err := json.Unmarshal(raw, &tool); err != nil {
		return err
	}
	t.RawMessage = bytes.Clone(raw)
	if !tool.has("function") { // of a kind that only its host knows
		return nil
	}
	if err := json.Unmarshal(tool["function"], &function); err != nil {
		return err
	}
	if function.has("parameters") {
		if json.Unmarshal(function["parameters"], &parameters) != nil {
			return nil // a boolean is a schema too
		}
	}
	if err := parameters.checkType(); err != nil {
		return err
	}
	if tool.has("type") && function.has("parameters") && parameters.isObjectSchema() {
		return nil
	}
	if !parameters.isObjectSchema() {
		parameters = parameters.with("type", `"object"`).with("properties", `{}`)
		function["parameters"] = parameters.marshal()
	}
	tool = tool.with("type", `"function"`)
	tool["function"] = function.marshal()
	t.RawMessage = tool.marshal()
	return nil
}

// isObjectSchema reports whether a schema for an object has all that hosts want of one. A
// schema that is made of others may have it there.
func (m Members) isObjectSchema() bool {
	for _, name := range []string{"$ref", "anyOf", "oneOf", "allOf"} {
		if m.has(name) {
			return true
		}
	}
	return m.has("type") && m.has("properties")
}

// checkType returns an error if the type of a schema is neither a word nor a list.
func (m Members) checkType() error {
	var word string
	if !m.has("type") || m["type"][0] == '[' {
		return nil
	}
	err := json.Unmarshal(m["type"], &word)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		wrong.Field = "function.parameters.type"
	}
	return err
}

// has reports whether a member is there, and is not null.
func (m Members) has(name string) bool { return len(m[name]) > 0 && string(m[name]) != "null" }

// with returns the members, with a value for one of them unless it has one.
func (m Members) with(name, value string) Members {
	if m.has(name) {
		return m
	}
	own := maps.Clone(m)
	if own == nil {
		own = Members{}
	}
	own[name] = json.RawMessage(value)
	return own
}

// marshal is an object of members that were JSON before.
func (m Members) marshal() json.RawMessage {
	raw, err := json.Marshal(map[string]json.RawMessage(m))
	if err != nil {
		panic(err)
	}
	return raw
}

// take removes a member and decodes it. A value of another type counts as none.
func (m Members) take(name string, into any) {
	_ = json.Unmarshal(m[name], into)
	delete(m, name)
}

// rest is nil if there are no members.
func (m Members) rest() Members {
	if len(m) == 0 {
		return nil
	}
	return m
}

// UnmarshalJSON reads a call in Ollama's form or in OpenAI's, where the arguments are a text
// that holds JSON.
func (c *ToolCall) UnmarshalJSON(raw []byte) error {
	*c = ToolCall{}
	var members Members
	if err := json.Unmarshal(raw, &members); err != nil {
		return err
	}
	if members.has("function") {
		if err := json.Unmarshal(members["function"], &c.Function); err != nil {
			return err
		}
	}
	delete(members, "function")
	c.ID = text(members["id"])
	delete(members, "id")
	if string(members["type"]) == `"function"` {
		delete(members, "type")
	}
	c.Rest = members.rest()
	return nil
}

// UnmarshalJSON reads the function of a call.
func (f *ToolCallFunction) UnmarshalJSON(raw []byte) error {
	*f = ToolCallFunction{}
	var members Members
	if err := json.Unmarshal(raw, &members); err != nil {
		return err
	}
	arguments, err := Arguments(members["arguments"])
	if err != nil {
		return err
	}
	f.Arguments = arguments
	delete(members, "arguments")
	members.take("index", &f.Index)
	members.take("name", &f.Name)
	f.Rest = members.rest()
	return nil
}

// Arguments are the arguments of a call, given as an object or as a text that holds one; nil
// for none. They are the same JSON, digit by digit.
func Arguments(raw json.RawMessage) (json.RawMessage, error) {
	for range 2 { // some models write a text that holds JSON into a text that holds JSON
		var inside string
		if json.Unmarshal(raw, &inside) != nil {
			break
		}
		raw = json.RawMessage(inside)
	}
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil && len(list) == 0 { // as PHP and Lua write an object without members
		return nil, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, fmt.Errorf("invalid tool call arguments: %w", err)
	}
	return bytes.Clone(raw), nil
}

// text is a JSON string, or the text of a number.
func text(raw json.RawMessage) (s string) {
	if json.Unmarshal(raw, &s) != nil && len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
		return string(raw)
	}
	return s
}

// MarshalJSON writes a call in Ollama's form.
func (c ToolCall) MarshalJSON() ([]byte, error) {
	type function struct {
		Index     int             `json:"index"`
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	}
	f := function{c.Function.Index, c.Function.Name, c.Function.Arguments}
	if len(f.Arguments) == 0 {
		f.Arguments = json.RawMessage(`{}`)
	}
	inner, err := WithMembers(f, c.Function.Rest)
	if err != nil {
		return nil, err
	}
	return WithMembers(struct {
		ID       string          `json:"id,omitempty"`
		Function json.RawMessage `json:"function"`
	}{c.ID, inner}, c.Rest)
}

// WithMembers is a value that is an object in JSON, and has a member at least, with more
// members behind its own.
func WithMembers(v any, more Members) ([]byte, error) {
	own, err := json.Marshal(v)
	if err != nil || len(more) == 0 {
		return own, err
	}
	behind, err := json.Marshal(map[string]json.RawMessage(more))
	if err != nil {
		return nil, err
	}
	return append(append(own[:len(own)-1], ','), behind[1:]...), nil
}
