// Package schema is the JSON Schema of this program: it derives schemas from
// Go types, checks a call's arguments against them, and compiles the schemas
// that callers send for a model's answer.
//
// It promises that what is enforced follows from the same document as what is shown, that
// a schema from outside never makes it open a file or a connection, that the
// work on such a schema and on a value is bounded, and that none which crashes
// Ollama's runner is accepted. What an error means to a caller is left to the
// packages above.
package schema

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"sync"

	"github.com/google/jsonschema-go/jsonschema"
	validate "github.com/santhosh-tekuri/jsonschema/v6"
)

// Document is a JSON Schema.
type Document = jsonschema.Schema

// Overrides holds the schemas of the types whose JSON is not what their Go type
// suggests.
type Overrides map[reflect.Type]*Document

// Derive returns the schema of a type's JSON.
func Derive(t reflect.Type, overrides Overrides) (*Document, error) {
	doc, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: overrides})
	if err != nil {
		return nil, err
	}
	simplify(doc)
	return doc, nil
}

// simplify removes "null" from the types, in place. A list of types confuses
// some clients, and an optional argument is left out instead of set to null.
func simplify(s *Document) {
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

// maxItems is the length of lists that have no limit of their own.
const maxItems = 10000

// limitLists gives each list of a document a maximum length, in place.
func limitLists(s *Document) {
	if s == nil {
		return
	}
	if s.Type == "array" && s.MaxItems == nil {
		s.MaxItems = new(maxItems)
	}
	for _, p := range s.Properties {
		limitLists(p)
	}
	for _, choice := range s.AnyOf {
		limitLists(choice)
	}
	limitLists(s.Items)
}

// Schema checks arguments against a document, of which clients are shown the main points.
type Schema struct {
	doc     *Document
	compile func() (*validate.Schema, error) // runs once, on first use: it takes milliseconds
	texts   map[string]bool                  // the properties that accept every non-empty string
}

// For returns the schema of arguments whose Go type is t, a struct, with the fields of further
// structs.
func For(t reflect.Type, overrides Overrides, more ...reflect.Type) (*Schema, error) {
	doc, err := Derive(t, overrides)
	if err != nil {
		return nil, err
	}
	for _, t := range more {
		other, err := Derive(t, overrides)
		if err != nil {
			return nil, err
		}
		maps.Copy(doc.Properties, other.Properties)
		doc.PropertyOrder = append(doc.PropertyOrder, other.PropertyOrder...)
		doc.Required = append(doc.Required, other.Required...)
	}
	limitLists(doc)
	compile := sync.OnceValues(func() (*validate.Schema, error) {
		raw, err := json.Marshal(doc)
		if err != nil {
			return nil, err
		}
		return compile(raw)
	})
	return &Schema{doc, compile, textsOf(doc)}, nil
}

// Document returns all that arguments are checked against. It must not be changed.
func (s *Schema) Document() *Document { return s.doc }

// Check returns nil if the schema accepts the arguments, and otherwise an
// *ArgumentsError. Any other error is a fault of the schema itself.
func (s *Schema) Check(arguments map[string]any) error {
	if s.isPlain(arguments) {
		return nil
	}
	if f, ok := outOfBounds(s.doc, "", arguments); ok {
		return &ArgumentsError{Faults: []ArgumentFault{f}, TooLarge: true}
	}
	compiled, err := s.compile()
	if err != nil {
		return err
	}
	if err := compiled.Validate(arguments); err != nil {
		return s.explain(err)
	}
	return nil
}
