package schema

import (
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
)

// textsOf returns the properties of an object that accept every non-empty string.
func textsOf(doc *Document) map[string]bool {
	texts := make(map[string]bool)
	for name, p := range doc.Properties {
		rest := *p
		rest.Description, rest.MinLength = "", nil
		acceptsAny := p.MinLength == nil || *p.MinLength <= 1
		texts[name] = acceptsAny && reflect.DeepEqual(rest, jsonschema.Schema{Type: "string"})
	}
	return texts
}

// isPlain reports whether the arguments are non-empty strings where any string
// will do, and none is missing, as in most calls: then the schema accepts them.
// The full check takes a sixth of the time of a cache hit.
func (s *Schema) isPlain(arguments map[string]any) bool {
	for name, value := range arguments {
		if text, ok := value.(string); !ok || text == "" || !s.texts[name] {
			return false
		}
	}
	for _, name := range s.doc.Required {
		if _, given := arguments[name]; !given {
			return false
		}
	}
	return true
}
