package schema

import (
	"encoding/json"
	"strings"

	validate "github.com/santhosh-tekuri/jsonschema/v6"
)

// This file bounds the check of a value. The validator cannot be interrupted, and what it does
// may double with each level of a value. So the schemas that it will apply are counted first,
// on the same way through the value, and a value is only checked if they are few enough.

const (
	// maxSteps is the most that the check of a value may take. A step is about what it takes to
	// apply one schema with a single keyword: the check of a long answer takes some 10,000, and
	// as many as this take a second at worst.
	maxSteps = 1 << 20
	// maxStepsTogether is the most that all checks for one request may take: of an answer, of
	// the parts of its text that may be meant, and of a second answer.
	maxStepsTogether = 2 * maxSteps
	// maxDepth is how deep a value may be nested. The validator calls itself for each level.
	maxDepth = 200
	// maxText is the size of a text that is decoded, in bytes.
	maxText = 8 << 20
)

// checkValue returns a *MismatchError for a value that is nested too deep, or that holds a
// number which cannot be computed with.
func checkValue(value any, depth int) error {
	if depth > maxDepth {
		return &MismatchError{"it is nested too deep"}
	}
	switch value := value.(type) {
	case json.Number:
		if !canHold(value) {
			return &MismatchError{"it has the number " + shorten(value.String(), 40) + ", which is beyond the range of numbers"}
		}
	case []any:
		for _, item := range value {
			if err := checkValue(item, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, item := range value {
			if err := checkValue(item, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// stepsOf returns an upper bound of the steps that the check of a value takes, unless they are
// more than most. It takes no more steps itself.
func stepsOf(s *validate.Schema, value any, most int) (steps int, ok bool) {
	c := counter{left: most}
	c.apply(s, value, 1)
	return most - c.left, c.left >= 0
}

// counter counts steps, until none is left.
type counter struct{ left int }

func (c *counter) take(steps int) { c.left -= steps }

// apply counts the steps to apply a schema, and all that it refers to, to a value.
func (c *counter) apply(s *validate.Schema, value any, depth int) {
	if s == nil || c.left < 0 {
		return
	}
	c.take(1 + depth/16) // a failure holds its path
	if s.Bool != nil {
		return
	}
	if s.Const != nil {
		c.take(c.weight(value))
	}
	if s.Enum != nil {
		c.enum(s.Enum.Values, value)
	}
	switch value := value.(type) {
	case string:
		c.text(s, value)
	case json.Number:
		c.take(c.weight(value))
	case []any:
		c.list(s, value, depth)
	case map[string]any:
		c.object(s, value, depth)
	}
	same, _ := edges(s)
	for _, other := range same {
		c.apply(other, value, depth)
	}
}

// enum counts the steps to compare a value with each of some others. Texts that differ do so
// at once.
func (c *counter) enum(values []any, value any) {
	steps := c.weight(values) + len(values)*c.weight(value)
	if _, isText := value.(string); isText {
		steps /= 16
	}
	c.take(steps)
}

// What texts and numbers take. A number is made an exact fraction each time that it is compared.
const (
	bytesPerStep  = 64 // of a text whose characters are counted or compared
	digitsPerStep = 8  // of a number
	numberSteps   = 3
	exponentSteps = 40 // of the integer that a number with an exponent becomes
)

func (c *counter) text(s *validate.Schema, text string) {
	c.take(len(text) / bytesPerStep)
	if s.Format != nil {
		c.take(len(text) / digitsPerStep)
	}
	c.match(s.Pattern, text)
}

// match counts the steps to match a text. Each instruction of a pattern may run for each byte.
func (c *counter) match(re validate.Regexp, text string) {
	if p, ok := re.(*pattern); ok {
		c.take(1 + p.size*len(text)/bytesPerStep)
	}
}

func (c *counter) list(s *validate.Schema, list []any, depth int) {
	c.take(len(list) / 4)
	if s.UniqueItems {
		c.take(len(list) * (1 + c.weight(list)/32)) // a few of them, or some with equal hashes, are compared with each other
	}
	prefix, rest := s.PrefixItems, s.Items2020
	switch items := s.Items.(type) { // of older drafts
	case *validate.Schema:
		rest = items
	case []*validate.Schema:
		prefix = items
		rest, _ = s.AdditionalItems.(*validate.Schema)
	}
	if rest == nil {
		rest = s.UnevaluatedItems
	}
	for i, item := range list {
		c.apply(s.Contains, item, depth+1)
		if i < len(prefix) {
			c.apply(prefix[i], item, depth+1)
		} else {
			c.apply(rest, item, depth+1)
		}
		if c.left < 0 {
			return
		}
	}
}

func (c *counter) object(s *validate.Schema, object map[string]any, depth int) {
	c.take((len(object) + len(s.Required)) / 4)
	c.take(len(s.Dependencies) + len(s.DependentSchemas))
	for _, needed := range s.DependentRequired {
		c.take(1 + len(needed)/4)
	}
	for _, needed := range s.Dependencies {
		names, _ := needed.([]string)
		c.take(1 + len(names)/4)
	}
	rest, _ := s.AdditionalProperties.(*validate.Schema)
	if rest == nil {
		rest = s.UnevaluatedProperties
	}
	for name, value := range object {
		described := s.Properties[name]
		c.apply(described, value, depth+1)
		c.apply(s.PropertyNames, name, depth+1)
		for re, other := range s.PatternProperties {
			if c.match(re, name); c.left < 0 {
				return
			}
			if re.MatchString(name) {
				described = other
				c.apply(other, value, depth+1)
			}
		}
		if described == nil {
			c.apply(rest, value, depth+1)
		}
		if c.left < 0 {
			return
		}
	}
}

// weight is what it takes to compare a value, in steps. It takes these steps itself.
func (c *counter) weight(value any) (steps int) {
	if c.left < 0 {
		return 0
	}
	switch value := value.(type) {
	case string:
		return 1 + len(value)/bytesPerStep
	case json.Number:
		steps = numberSteps + len(value)/digitsPerStep
		if strings.ContainsAny(string(value), "eE") {
			steps += exponentSteps
		}
		return steps
	case []any:
		for _, item := range value {
			steps += c.weight(item)
		}
	case map[string]any:
		for _, item := range value {
			steps += c.weight(item)
		}
	}
	c.take(steps / 4)
	return steps + 1
}
