package schema

import validate "github.com/santhosh-tekuri/jsonschema/v6"

// maxRepetition is how often Ollama's runner lets an element be repeated: its
// grammars allow no more (MAX_REPETITION_THRESHOLD of llama.cpp), and a grammar
// that repeats more crashes it. The product of nested repetitions does not
// matter, since the content of a list is a grammar rule of its own. Patterns
// need no check: regular expressions have a lower limit anyway.
const maxRepetition = 2000

// grammar looks for the parts of a schema that crash Ollama's runner.
type grammar struct {
	state map[*validate.Schema]visit
	todo  []*validate.Schema // schemas of parts of the value, still to be visited
}

type visit int

const (
	unseen visit = iota
	begun
	done
)

// crashes returns a *FormatError for the first part of a schema that would
// crash the runner; nil if none would.
func crashes(schema *validate.Schema) error {
	g := grammar{state: make(map[*validate.Schema]visit), todo: []*validate.Schema{schema}}
	for len(g.todo) > 0 {
		next := g.todo[len(g.todo)-1]
		g.todo = g.todo[:len(g.todo)-1]
		if err := g.visit(next); err != nil {
			return err
		}
	}
	return nil
}

// visit checks a schema, and all schemas that describe the same value as it
// does. A schema that leads back to itself on that way describes nothing.
func (g *grammar) visit(s *validate.Schema) error {
	switch g.state[s] {
	case done:
		return nil
	case begun:
		return unusable("refers at %q to itself and to nothing else: say what is there", relative(s.Location))
	}
	g.state[s] = begun
	for _, r := range repetitions(s) {
		if r.n != nil && *r.n > maxRepetition {
			return unusable("has a %s of %d at %q, and Ollama takes at most %d: leave it out, or lower it",
				r.keyword, *r.n, relative(s.Location), maxRepetition)
		}
	}
	for _, same := range ofSameValue(s) {
		if err := g.visit(same); err != nil {
			return err
		}
	}
	g.state[s] = done
	g.todo = append(g.todo, ofParts(s)...)
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
