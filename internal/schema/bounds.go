package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"

	validate "github.com/santhosh-tekuri/jsonschema/v6"
)

// This file bounds the work that a schema from outside may cause: to compile it, and to check
// a small value against it. The file steps.go bounds the check of each value.

// The bounds of a schema from outside. They are far above what schemas for a model's answer
// need, and keep the time to compile one below a second.
const (
	maxBytes      = 64 << 10
	maxSubschemas = 4096 // the compiler takes the square of their number
	maxNesting    = 50   // Ollama's runner crashes on a schema of 100 levels
	maxChain      = 100  // schemas that lead to one another and describe the same value
	maxPaths      = 1 << 16

	maxPatternBytes = 1024
	maxPatternSize  = 2000 // instructions of the compiled expression
	maxPatternTotal = 20 * maxPatternSize
)

// checkSize returns a *FormatError for a schema that would take too long to compile.
func checkSize(raw json.RawMessage) error {
	if len(raw) > maxBytes {
		return unusable("is larger than %d KiB", maxBytes>>10)
	}
	depth, subschemas := 0, 0
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if err != nil {
			return nil // the compiler says what is wrong with it, if this is not its end
		}
		switch token := token.(type) {
		case json.Delim:
			if token == '}' || token == ']' {
				depth--
				break
			}
			if depth++; depth > maxNesting {
				return unusable("is nested more than %d deep", maxNesting)
			}
			if token == '{' {
				subschemas++
			}
		case bool: // is a schema too
			subschemas++
		case json.Number:
			if !canHold(token) {
				return unusable("has the number %s, which is beyond the range of numbers", shorten(token.String(), 40))
			}
		}
		if subschemas > maxSubschemas {
			return unusable("has more than %d parts", maxSubschemas)
		}
	}
}

// canHold reports whether a number can be computed with at a bounded cost: it is within the
// range of a double, and not longer than the longest exact one.
func canHold(n json.Number) bool {
	const longest = 1100 // digits of the smallest double, and some more
	if len(n) > longest {
		return false
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil || math.IsInf(f, 0) {
		return false
	}
	digits, exponent, _ := strings.Cut(strings.ToLower(string(n)), "e")
	return f != 0 || strings.Trim(digits, "-0.") == "" && len(exponent) <= 4 // zero, or rounded to it?
}

// pattern is a regular expression of a schema.
type pattern struct {
	*regexp.Regexp
	size int // instructions, each of which may run for each byte of a text
}

// patterns is the validator's engine of regular expressions for one schema. It refuses those
// that are expensive to compile or to match.
type patterns struct {
	compiled bool // the schema is: what comes now are texts that must be regular expressions
	total    int  // instructions of all patterns of the schema
}

func (p *patterns) compile(text string) (validate.Regexp, error) {
	switch {
	case len(text) > maxPatternBytes:
		return nil, fmt.Errorf("the pattern is longer than %d bytes", maxPatternBytes)
	case p.total > maxPatternTotal:
		return nil, errors.New("the patterns are too large together")
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	size := len(program.Inst)
	if size > maxPatternSize {
		return nil, fmt.Errorf("the pattern %s repeats too much", shorten(strconv.Quote(text), 40))
	}
	if !p.compiled {
		p.total += size
	}
	re, err := regexp.Compile(text)
	return &pattern{re, size}, err
}

// edges returns the schemas that a schema applies to the same value, and those that it applies
// to parts of the value or to the names of its properties.
func edges(s *validate.Schema) (same, parts []*validate.Schema) {
	add := func(to *[]*validate.Schema, schemas ...*validate.Schema) {
		for _, other := range schemas {
			if other != nil {
				*to = append(*to, other)
			}
		}
	}
	add(&same, s.Ref, s.Not, s.If, s.Then, s.Else)
	add(&same, s.AllOf...)
	add(&same, s.AnyOf...)
	add(&same, s.OneOf...)
	for _, other := range s.DependentSchemas {
		add(&same, other)
	}
	for _, other := range s.Dependencies {
		if other, ok := other.(*validate.Schema); ok {
			add(&same, other)
		}
	}
	add(&parts, s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020, s.UnevaluatedItems)
	add(&parts, s.PrefixItems...)
	for _, other := range s.Properties {
		add(&parts, other)
	}
	for _, other := range s.PatternProperties {
		add(&parts, other)
	}
	for _, other := range []any{s.AdditionalProperties, s.Items, s.AdditionalItems} {
		switch other := other.(type) {
		case *validate.Schema:
			add(&parts, other)
		case []*validate.Schema:
			add(&parts, other...)
		}
	}
	return same, parts
}

// checkPaths returns a *FormatError for a schema that leads back to itself without describing
// a part of the value, or in too many ways to its parts.
func checkPaths(root *validate.Schema) error {
	p := paths{heights: make(map[*validate.Schema]int), index: make(map[*validate.Schema]int), cost: make(map[*validate.Schema]int)}
	if p.visit(root); p.err != nil {
		return p.err
	}
	if p.cost[root] > maxPaths {
		return unusable("has parts that refer to other parts in more than %d ways: use fewer references, or fewer alternatives", maxPaths)
	}
	return nil
}

// paths counts the paths from a schema to its parts, which is the number of schemas that are
// applied to a value in which each part occurs once. It follows each reference once: the
// count of a part is known when another path comes to it.
//
// Schemas that are recursive describe values of any depth, and have no such number. For those
// that lead to each other (a strongly connected component of the graph, found by Tarjan's
// algorithm) each reference among them counts as one.
type paths struct {
	heights map[*validate.Schema]int // of a schema's longest chain for the same value; 0 while it is being visited
	index   map[*validate.Schema]int // in the order of visits, from 1
	stack   []*validate.Schema       // those that belong to no component yet
	cost    map[*validate.Schema]int // of those that do; at most maxPaths + 1
	err     error
}

// visit counts the paths of a schema and of all that it leads to. It returns the lowest index
// that the schema leads back to.
func (p *paths) visit(s *validate.Schema) (low int) {
	if s.DynamicRef != nil || s.RecursiveRef != nil {
		p.err = unusable("has a $dynamicRef or $recursiveRef at %q: use $ref", relative(s.Location))
	}
	if p.err == nil {
		p.height(s)
	}
	if p.err != nil {
		return 0
	}
	at := len(p.index) + 1
	p.index[s], low = at, at
	bottom := len(p.stack)
	p.stack = append(p.stack, s)
	same, parts := edges(s)
	for _, next := range append(same, parts...) {
		if _, done := p.cost[next]; done {
			continue
		}
		back := p.index[next]
		if back == 0 {
			back = p.visit(next)
		}
		if p.err != nil {
			return 0
		}
		low = min(low, back)
	}
	if low == at { // what is on the stack from here on leads to each other
		p.close(p.stack[bottom:])
		p.stack = p.stack[:bottom]
	}
	return low
}

// close counts the paths of a component, of which all that it leads to is counted.
func (p *paths) close(component []*validate.Schema) {
	total := 0
	for _, s := range component {
		total++
		same, parts := edges(s)
		for _, next := range append(same, parts...) {
			total = min(total+max(1, p.cost[next]), maxPaths+1)
		}
	}
	for _, s := range component {
		p.cost[s] = total
	}
}

// height is the number of schemas of a schema's longest chain for the same value.
func (p *paths) height(s *validate.Schema) int {
	if known, begun := p.heights[s]; begun {
		if known == 0 {
			p.err = unusable("refers at %q to itself and to nothing else: say what is there", relative(s.Location))
		}
		return known
	}
	p.heights[s] = 0
	most := 0
	same, _ := edges(s)
	for _, next := range same {
		most = max(most, p.height(next))
		if p.err != nil {
			return 0
		}
	}
	if most++; most > maxChain {
		p.err = unusable("has a chain of more than %d schemas for one value at %q: refer to the last one", maxChain, relative(s.Location))
	}
	p.heights[s] = most
	return most
}

// shorten cuts a text that is longer than a number of bytes.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
