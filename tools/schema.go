package tools

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/google/jsonschema-go/jsonschema"
	validate "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/nearest"
)

// schema is a JSON schema to show, and the same compiled to check values with:
// what clients are told is what is enforced.
type schema struct {
	doc   *jsonschema.Schema
	check func() (*validate.Schema, error) // compiles when first needed, which takes milliseconds
	texts map[string]bool                  // members that may be any text but the empty one
}

// schemaOf derives the schema of a tool's arguments or results from their type.
func schemaOf(t reflect.Type) (*schema, error) {
	doc, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: typeSchemas})
	if err != nil {
		return nil, err
	}
	simplify(doc)
	check := sync.OnceValues(func() (*validate.Schema, error) { return compileSchema(mustMarshal(doc)) })
	return &schema{doc, check, textsOf(doc)}, nil
}

// simplify removes "null" from the types, in place. A list of types confuses
// some clients, and an argument that is not wanted is to be left out.
func simplify(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if len(s.Types) > 0 && s.Types[0] == "null" {
		s.Type, s.Types = strings.Join(s.Types[1:], ""), nil // at most one is left
	}
	for _, p := range s.Properties {
		simplify(p)
	}
	simplify(s.Items)
}

// typeSchemas describe the types whose JSON is not what their Go type suggests.
var typeSchemas = map[reflect.Type]*jsonschema.Schema{
	reflect.TypeFor[modelName]():  nonEmpty(),
	reflect.TypeFor[role]():       {Type: "string", Enum: []any{"system", "user", "assistant", "tool"}},
	reflect.TypeFor[texts]():      anyOf(nonEmpty(), &jsonschema.Schema{Type: "array", Items: nonEmpty(), MinItems: new(1)}),
	reflect.TypeFor[format]():     anyOf(&jsonschema.Schema{Type: "string", Enum: []any{"json"}}, &jsonschema.Schema{Type: "object"}),
	reflect.TypeFor[keepAlive]():  anyOf(&jsonschema.Schema{Type: "string"}, &jsonschema.Schema{Type: "number"}),
	reflect.TypeFor[period]():     {Type: "number", ExclusiveMinimum: new(0.0)},
	reflect.TypeFor[options]():    optionsSchema(),
	reflect.TypeFor[output]():     {Type: "string", Enum: []any{"inline", "resource", "auto"}},
	reflect.TypeFor[policy]():     {Type: "string", Enum: []any{"auto", "off", "refresh"}},
	reflect.TypeFor[similarity](): {Type: "number", Minimum: new(0.0), Maximum: new(1.0)},
	reflect.TypeFor[priority]():   {Type: "string", Enum: []any{"interactive", "batch"}},
	reflect.TypeFor[capability](): {Type: "string", Enum: []any{"completion", "embedding", "insert", "thinking", "tools", "vision"}},
	reflect.TypeFor[backend.ThinkValue](): anyOf(&jsonschema.Schema{Type: "boolean"},
		&jsonschema.Schema{Type: "string", Enum: []any{"low", "medium", "high"}}),
	reflect.TypeFor[count]():            {Type: "integer", Minimum: new(1.0), Maximum: new(float64(math.MaxInt32))},
	reflect.TypeFor[backend.ToolCall](): withFunction("arguments"),
	reflect.TypeFor[backend.Tool]():     withFunction("parameters"),
}

// optionsSchema allows the options that Ollama knows and no others, since it
// drops an option that it does not know without a word.
func optionsSchema() *jsonschema.Schema {
	s, err := jsonschema.For[backend.Options](nil)
	if err != nil {
		panic(err) // a type of a pinned library
	}
	s.Required = nil
	for _, name := range []string{"num_ctx", "num_batch"} {
		s.Properties[name].Minimum = new(1.0) // 0 makes Ollama's runner crash
	}
	const mostThreads = 512 // GGML_MAX_N_THREADS; with more the runner hangs or crashes
	s.Properties["num_thread"].Maximum = new(float64(mostThreads))
	simplify(s)
	return s
}

// withFunction describes an object that holds a function by its name, and an
// object that belongs to it.
func withFunction(object string) *jsonschema.Schema {
	return &jsonschema.Schema{
		Type:     "object",
		Required: []string{"function"},
		Properties: map[string]*jsonschema.Schema{"function": {
			Type:     "object",
			Required: []string{"name"},
			Properties: map[string]*jsonschema.Schema{
				"name": {Type: "string"},
				object: {Type: "object"},
			},
		}},
	}
}

func anyOf(choices ...*jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: choices}
}

func nonEmpty() *jsonschema.Schema { return &jsonschema.Schema{Type: "string", MinLength: new(1)} }

// fault says in one line what is wrong with arguments that the schema refuses,
// with the nearest known name where one is unknown.
func (s *schema) fault(arguments map[string]any) error {
	if s.isPlain(arguments) {
		return nil
	}
	check, err := s.check()
	if err != nil {
		return err
	}
	if err = check.Validate(arguments); err == nil {
		return nil
	}
	refused, ok := errors.AsType[*validate.ValidationError](err)
	if !ok {
		return err
	}
	leaf := deepest(refused)
	at := location(leaf.InstanceLocation)
	switch k := leaf.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		return s.unknownName(leaf.InstanceLocation, k.Properties[0])
	case *kind.Required:
		return fmt.Errorf("argument %q is missing", join(at, k.Missing[0]))
	case *kind.Type:
		if k.Got == "null" {
			return fmt.Errorf("argument %q is null; leave it out instead", at)
		}
	case *kind.Maximum:
		return fmt.Errorf("argument %q must be at most %s", at, k.Want.RatString())
	case *kind.MinLength, *kind.MinItems:
		return fmt.Errorf("argument %q must not be empty", at)
	}
	return fmt.Errorf("argument %q must be %s", at, wanted(leaf))
}

// unknownName is the fault of a name that the object at the location does not have.
func (s *schema) unknownName(at []string, unknown string) error {
	object := s.doc
	for _, step := range at {
		if next := object.Properties[step]; next != nil {
			object = next
		} else if object.Items != nil {
			object = object.Items
		}
	}
	path := join(location(at), unknown)
	if near := nearest.Names(unknown, object.PropertyOrder, 1); len(near) > 0 {
		return fmt.Errorf("unknown argument %q; did you mean %q?", path, near[0])
	}
	if len(object.PropertyOrder) == 0 {
		return fmt.Errorf("unknown argument %q; there are none", path)
	}
	return fmt.Errorf("unknown argument %q; known are %s", path, strings.Join(object.PropertyOrder, ", "))
}

// deepest is the failure to report: the one furthest inside the value, since
// what lies around it fails only for its sake. Among equals a name that is not
// known comes first: it may be the missing one, misspelt.
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
// the ways in which the value is none of its alternatives.
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
