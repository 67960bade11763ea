package schema

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	validate "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"ollama-mcp/internal/nearest"
)

// ArgumentError says in one line what is wrong with one argument of a call.
type ArgumentError struct {
	Argument string // its path, such as messages[0].role
	message  string
}

func (e *ArgumentError) Error() string { return e.message }

// explain turns what the validator found wrong with arguments into an
// *ArgumentError, with the nearest known name where one is unknown.
func (s *Schema) explain(err error) error {
	refused, ok := errors.AsType[*validate.ValidationError](err)
	if !ok {
		return err
	}
	leaf := deepest(refused)
	at := location(leaf.InstanceLocation)
	switch k := leaf.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		return s.unknown(leaf.InstanceLocation, k.Properties[0])
	case *kind.Required:
		return argument(join(at, k.Missing[0]), "argument %q is missing")
	case *kind.Type:
		if k.Got == "null" {
			return argument(at, "argument %q is null; leave it out instead")
		}
	case *kind.Maximum:
		return argument(at, "argument %q must be at most %s", k.Want.RatString())
	case *kind.MinLength, *kind.MinItems:
		return argument(at, "argument %q must not be empty")
	}
	return argument(at, "argument %q must be %s", wanted(leaf))
}

// argument makes an error whose message begins with the argument's path.
func argument(path, format string, args ...any) *ArgumentError {
	return &ArgumentError{path, fmt.Sprintf(format, append([]any{path}, args...)...)}
}

// unknown is the error of a name that the object at the location does not have.
func (s *Schema) unknown(at []string, name string) *ArgumentError {
	object := s.doc
	for _, step := range at {
		if next := object.Properties[step]; next != nil {
			object = next
		} else if object.Items != nil {
			object = object.Items
		}
	}
	path := join(location(at), name)
	if near := nearest.Names(name, object.PropertyOrder, 1); len(near) > 0 {
		return argument(path, "unknown argument %q; did you mean %q?", near[0])
	}
	if len(object.PropertyOrder) == 0 {
		return argument(path, "unknown argument %q; there are none")
	}
	return argument(path, "unknown argument %q; known are %s", strings.Join(object.PropertyOrder, ", "))
}

// deepest returns the failure to report: the one furthest inside the value,
// since the failures around it follow from it. Among equals an unknown name
// comes first: it may be the missing one, misspelt.
func deepest(e *validate.ValidationError) *validate.ValidationError {
	best := e
	for _, cause := range e.Causes {
		if d := deepest(cause); weight(e, d) > weight(e, best) {
			best = d
		}
	}
	return best
}

// weight ranks a failure that was found somewhere below e. A choice outweighs
// the ways in which the value fits none of its alternatives.
func weight(e, found *validate.ValidationError) int {
	depth := 3 * len(found.InstanceLocation)
	_, isChoice := e.ErrorKind.(*kind.AnyOf)
	switch found.ErrorKind.(type) {
	case *kind.AdditionalProperties, *kind.MinItems, *kind.MinLength:
		return depth + 2
	}
	if found != e && !isChoice {
		return depth + 1
	}
	return depth
}

// wanted says what the value should have been.
func wanted(e *validate.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf:
		var choices []string
		for _, cause := range e.Causes {
			choices = append(choices, wanted(cause))
		}
		return strings.Join(choices, " or ")
	case *kind.Type:
		return typeNames[k.Want[0]]
	case *kind.Enum:
		var choices []string
		for _, v := range k.Want {
			choices = append(choices, fmt.Sprintf("%#v", v))
		}
		return strings.Join(choices, " or ")
	case *kind.ExclusiveMinimum:
		return "more than " + k.Want.RatString()
	case *kind.Minimum:
		return "at least " + k.Want.RatString()
	}
	return "otherwise: " + e.Error()
}

var typeNames = map[string]string{
	"string":  "a text",
	"number":  "a number",
	"integer": "a whole number",
	"boolean": "true or false",
	"array":   "a list",
	"object":  "an object",
}

// location writes a path the way people do: messages[0].role.
func location(path []string) string {
	var at string
	for _, step := range path {
		if _, err := strconv.Atoi(step); err == nil {
			at += "[" + step + "]"
		} else {
			at = join(at, step)
		}
	}
	return at
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}
