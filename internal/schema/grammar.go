package schema

import validate "github.com/santhosh-tekuri/jsonschema/v6"

// maxRepetition is how often Ollama's runner lets an element be repeated: its
// grammars allow no more (MAX_REPETITION_THRESHOLD of llama.cpp), and a grammar
// that repeats more crashes it. The product of nested repetitions does not
// matter, since the content of a list is a grammar rule of its own. Patterns
// need no check: regular expressions have a lower limit anyway.
const maxRepetition = 2000

// crashes returns a *FormatError for the first part of a schema that would
// crash the runner; nil if none would.
func crashes(schema *validate.Schema) error {
	seen := map[*validate.Schema]bool{schema: true}
	todo := []*validate.Schema{schema}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, r := range repetitions(s) {
			if r.n != nil && *r.n > maxRepetition {
				return unusable("has a %s of %d at %q, and Ollama takes at most %d: leave it out, or lower it",
					r.keyword, *r.n, relative(s.Location), maxRepetition)
			}
		}
		for _, next := range append(ofSameValue(s), ofParts(s)...) {
			if !seen[next] {
				seen[next] = true
				todo = append(todo, next)
			}
		}
	}
	return nil
}

// repetition is a keyword that bounds how often an element is repeated; n is
// nil if the schema does not have it.
type repetition struct {
	keyword string
	n       *int
}

func repetitions(s *validate.Schema) []repetition {
	return []repetition{
		{"maxLength", s.MaxLength}, {"minLength", s.MinLength}, {"maxItems", s.MaxItems}, {"minItems", s.MinItems},
	}
}

// ofSameValue returns the schemas that Ollama applies to the same value as s.
func ofSameValue(s *validate.Schema) (all []*validate.Schema) {
	if s.Ref != nil {
		all = append(all, s.Ref)
	}
	all = append(all, s.AllOf...)
	all = append(all, s.AnyOf...)
	return append(all, s.OneOf...)
}

// ofParts returns the schemas of the properties and elements of a value of s.
func ofParts(s *validate.Schema) (all []*validate.Schema) {
	for _, property := range s.Properties {
		all = append(all, property)
	}
	for _, inside := range []any{s.Items, s.AdditionalProperties, s.Items2020, s.PrefixItems} {
		switch inside := inside.(type) {
		case *validate.Schema:
			if inside != nil {
				all = append(all, inside)
			}
		case []*validate.Schema:
			all = append(all, inside...)
		}
	}
	return all
}
