package tools

import validate "github.com/santhosh-tekuri/jsonschema/v6"

// mostRepeated is how often Ollama's runner lets something be repeated: its grammars have
// no more (MAX_REPETITION_THRESHOLD of llama.cpp), and it crashes on one that does. How
// often all is repeated together does not matter: what is inside a list is a rule of its
// own. A pattern may not repeat as much in any case.
const mostRepeated = 2000

// grammar looks for what a schema holds that crashes Ollama's runner.
type grammar struct {
	state map[*validate.Schema]visit
	todo  []*validate.Schema // schemas of parts of the value that are to be looked at
}

type visit int

const (
	unseen visit = iota
	begun
	done
)

// crashes says what in a schema would crash the runner; nil if nothing would.
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

// visit looks at a schema, and at all that describe the same value as it does: if it is
// one of those itself, it describes nothing.
func (g *grammar) visit(s *validate.Schema) error {
	switch g.state[s] {
	case done:
		return nil
	case begun:
		return invalid(`argument "format" refers at %q to itself and to nothing else: say what is there`, relative(s.Location))
	}
	g.state[s] = begun
	for _, r := range repeats(s) {
		if r.n != nil && *r.n > mostRepeated {
			return invalid(`argument "format" has a %s of %d at %q, and Ollama takes at most %d: leave it out, or lower it`,
				r.word, *r.n, relative(s.Location), mostRepeated)
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

// repeated is how often something may be, by a word of a schema; n is nil if it does not say.
type repeated struct {
	word string
	n    *int
}

func repeats(s *validate.Schema) []repeated {
	return []repeated{
		{"maxLength", s.MaxLength}, {"minLength", s.MinLength}, {"maxItems", s.MaxItems}, {"minItems", s.MinItems},
	}
}

// ofSameValue are the schemas that Ollama has the value of one fit too.
func ofSameValue(s *validate.Schema) (all []*validate.Schema) {
	if s.Ref != nil {
		all = append(all, s.Ref)
	}
	all = append(all, s.AllOf...)
	all = append(all, s.AnyOf...)
	return append(all, s.OneOf...)
}

// ofParts are the schemas of what is in the value of one.
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
