package tools

import (
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"
)

// textsOf are the members of an object that may be any text, or any but the empty one.
func textsOf(doc *jsonschema.Schema) map[string]bool {
	texts := make(map[string]bool)
	for name, p := range doc.Properties {
		rest := *p
		rest.Description, rest.MinLength = "", nil
		least := p.MinLength == nil || *p.MinLength <= 1
		texts[name] = least && reflect.DeepEqual(rest, jsonschema.Schema{Type: "string"})
	}
	return texts
}

// isPlain reports whether arguments are texts where any will do, as those of most calls
// are, and none is missing: then there is nothing to check. The full check takes a sixth
// of what there is to do here for a call that is answered from the cache.
func (s *schema) isPlain(arguments map[string]any) bool {
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
