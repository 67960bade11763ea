package tools

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/schema"
)

// addedByHosts are arguments that MCP hosts add to calls by themselves, or copy from Ollama's
// API, and that no tool has. They change nothing about an answer.
var addedByHosts = []string{
	"stream",                                         // an answer is always whole
	"toolCallId", "sessionId", "action", "chatInput", // of n8n
}

// decode reads the arguments of a call into a new value of type t, to which in points. Arguments
// that the schema refuses are read once more as their caller meant them (schema.Lenient). The
// error names all faults of the call; wait is how long the call waits for its result, nil if it
// does not say; ignored are the arguments that were left out.
func decode(t reflect.Type, s *schema.Schema, req mcp.CallToolRequest) (in any, wait *waitSeconds, ignored []string, err error) {
	in = reflect.New(t).Interface()
	raw, value := req.Params.RawArguments, req.Params.Arguments
	if value == nil {
		raw, value = json.RawMessage("{}"), map[string]any{}
	}
	if raw == nil { // the call is from this process, and its arguments never were JSON
		raw = schema.MustMarshal(value)
	}
	if arguments, ok := value.(map[string]any); ok {
		err := s.Check(arguments)
		if refused, ok := errors.AsType[*schema.ArgumentsError](err); ok && refused.TooLarge {
			return in, nil, nil, err
		}
		if err == nil && json.Unmarshal(raw, in) == nil {
			if seconds, ok := arguments["wait_seconds"].(float64); ok {
				wait = new(waitSeconds(seconds))
			}
			return in, wait, nil, nil
		}
	}
	raw, ignored = s.Lenient(raw, func(name string) bool { return slices.Contains(addedByHosts, name) })
	if raw[0] != '{' {
		return in, nil, nil, errors.New("the arguments must be an object")
	}
	if err := faults(t, s, raw); err != nil {
		return in, nil, nil, err
	}
	var waits waitArgs
	if err := json.Unmarshal(raw, &waits); err != nil {
		return in, nil, nil, err
	}
	in = reflect.New(t).Interface() // without what the first attempt has read
	return in, waits.Wait, ignored, json.Unmarshal(raw, in)
}

// faults names all that is wrong with arguments; nil if nothing is.
func faults(t reflect.Type, s *schema.Schema, raw json.RawMessage) error {
	value, err := schema.Decode(string(raw))
	if err != nil {
		return err
	}
	arguments, _ := value.(map[string]any) // raw is an object
	found := new(schema.ArgumentsError)
	err = s.Check(arguments)
	if refused, ok := errors.AsType[*schema.ArgumentsError](err); ok {
		if found.Faults = refused.Faults; refused.TooLarge {
			return refused
		}
	} else if err != nil {
		return err
	}
	reported := make(map[string]bool) // paths that the schema has found wrong, or parts of which it has
	for _, f := range found.Faults {
		for end, letter := range f.Argument + "." {
			if letter == '.' || letter == '[' {
				reported[f.Argument[:end]] = true
			}
		}
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		for _, f := range unreadable(t, name, members[name]) {
			if !reported[f.Argument] {
				found.Faults = append(found.Faults, f)
			}
		}
	}
	if len(found.Faults) == 0 {
		return nil
	}
	return found
}

// unreadable says what of an argument the type of a tool's arguments does not take, which is
// more than schemas can tell, or deeper than ours go.
func unreadable(t reflect.Type, name string, raw json.RawMessage) []schema.ArgumentFault {
	err := json.Unmarshal(schema.MustMarshal(map[string]json.RawMessage{name: raw}), reflect.New(t).Interface())
	if several, ok := errors.AsType[*schema.ArgumentsError](err); ok {
		return several.Faults
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		err = fmt.Errorf("argument %q cannot be a %s", wrong.Field, wrong.Value)
	}
	if err == nil {
		return nil
	}
	return []schema.ArgumentFault{{Argument: name, Message: err.Error()}}
}
