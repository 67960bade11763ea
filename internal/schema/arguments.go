package schema

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	validate "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"ollama-mcp/internal/nearest"
	"ollama-mcp/internal/order"
)

// maxFaults is how many faults of a call are named.
const maxFaults = 10

// ArgumentsError says in one line all that is wrong with the arguments of a call.
type ArgumentsError struct {
	Faults   []ArgumentFault
	TooLarge bool // the only fault is a list or a number that is too large, and nothing else was checked
}

// ArgumentFault is what is wrong with one argument.
type ArgumentFault struct {
	Argument string // its path, such as messages[0].role; "" if it is not known
	Message  string // names the argument, and what it should be
}

// Error names each fault, with a number if there are several.
func (e *ArgumentsError) Error() string {
	if len(e.Faults) == 1 {
		return e.Faults[0].Message
	}
	line := fmt.Sprintf("%d faults:", len(e.Faults))
	for i, f := range e.Faults[:min(len(e.Faults), maxFaults)] {
		line += fmt.Sprintf(" (%d) %s", i+1, f.Message)
	}
	if more := len(e.Faults) - maxFaults; more > 0 {
		line += fmt.Sprintf(" and %d more", more)
	}
	return line
}

// outOfBounds returns the first value of a document that the validator must not be given: a
// list of which each wrong item would be a fault, or a number that it cannot compute with.
func outOfBounds(doc *Document, at string, value any) (f ArgumentFault, found bool) {
	if doc == nil {
		return f, false // any JSON, which is not looked into
	}
	switch value := value.(type) {
	case json.Number:
		if !canHold(value) {
			return fault(at, "argument %q is the number %s, which is beyond the range of numbers", shorten(value.String(), 40)), true
		}
	case []any:
		of := alternative(doc, "array")
		if of == nil {
			return f, false
		}
		if most := of.MaxItems; most != nil && len(value) > *most {
			return fault(at, "argument %q has %d items, and at most %d are allowed: send several requests", len(value), *most), true
		}
		for i, item := range value {
			if f, found = outOfBounds(of.Items, at+"["+strconv.Itoa(i)+"]", item); found {
				return f, true
			}
		}
	case map[string]any:
		of := alternative(doc, "object")
		if of == nil {
			return f, false
		}
		for name, member := range value {
			if f, found = outOfBounds(of.Properties[name], join(at, name), member); found {
				return f, true
			}
		}
	}
	return f, false
}

// explain turns what the validator found wrong with arguments into an *ArgumentsError, with
// the nearest known name for each unknown one.
func (s *Schema) explain(err error) error {
	refused, ok := errors.AsType[*validate.ValidationError](err)
	if !ok {
		return err
	}
	found := new(ArgumentsError)
	near := make(map[string]bool) // arguments that an unknown one may be a misspelling of
	var missing []ArgumentFault
	for _, leaf := range leaves(refused) {
		at := location(leaf.InstanceLocation)
		switch k := leaf.ErrorKind.(type) {
		case *kind.AdditionalProperties:
			found.Faults = append(found.Faults, s.unknown(leaf.InstanceLocation, k.Properties, near)...)
		case *kind.Required:
			for _, name := range k.Missing {
				should := ""
				if doc := s.at(append(slices.Clone(leaf.InstanceLocation), name)); doc != nil && doc.Type == "object" {
					should = ": it must be " + described(doc)
				}
				missing = append(missing, fault(join(at, name), "argument %q is missing%s", should))
			}
		default:
			found.Faults = append(found.Faults, s.explainValue(at, leaf))
		}
	}
	for _, m := range missing {
		if !near[m.Argument] {
			found.Faults = append(found.Faults, m)
		}
	}
	order.Stable(found.Faults, func(a, b ArgumentFault) int { return natural(a.Argument, b.Argument) })
	return found
}

// explainValue says what is wrong with a value.
func (s *Schema) explainValue(at string, leaf *validate.ValidationError) ArgumentFault {
	switch k := leaf.ErrorKind.(type) {
	case *kind.Type:
		if k.Got == "null" {
			return fault(at, "argument %q is null; leave it out instead")
		}
		return fault(at, "argument %q must be %s", described(s.at(leaf.InstanceLocation)))
	case *kind.AnyOf:
		return fault(at, "argument %q must be %s", described(s.at(leaf.InstanceLocation)))
	case *kind.Maximum:
		return fault(at, "argument %q must be at most %s", k.Want.RatString())
	case *kind.MinLength, *kind.MinItems:
		return fault(at, "argument %q must not be empty")
	}
	return fault(at, "argument %q must be %s", wanted(leaf))
}

// fault makes a fault whose message begins with the argument's path.
func fault(path, format string, args ...any) ArgumentFault {
	return ArgumentFault{path, fmt.Sprintf(format, append([]any{path}, args...)...)}
}

// unknown are the faults of names that the object at the location does not have. It adds the
// arguments that may have been meant to near.
func (s *Schema) unknown(at, names []string, near map[string]bool) (faults []ArgumentFault) {
	object := s.doc
	for _, step := range at {
		if next := object.Properties[step]; next != nil {
			object = next
		} else if object.Items != nil {
			object = object.Items
		}
	}
	var strange []string // names that are like none that is known
	isTop := object == s.doc
	names = slices.Sorted(slices.Values(names))
	for _, name := range names {
		path := join(location(at), name)
		if inner := holding(object, name); inner != "" {
			faults = append(faults, fault(path, "unknown argument %q; it belongs in %q", join(location(at), inner)))
			continue
		}
		if here := s.elsewhere(name); isTop && here != "" {
			near[here] = true
			faults = append(faults, fault(path, "unknown argument %q; use %q instead", here))
			continue
		}
		guess := nearest.Names(name, object.PropertyOrder, 1)
		if len(guess) == 0 {
			if inner := nearestInside(object, name); inner != "" {
				faults = append(faults, fault(path, "unknown argument %q; did you mean %q?", join(location(at), inner)))
				continue
			}
			strange = append(strange, strconv.Quote(path))
			continue
		}
		near[join(location(at), guess[0])] = true
		faults = append(faults, fault(path, "unknown argument %q; did you mean %q?", guess[0]))
	}
	if len(strange) == 0 {
		return faults
	}
	known := "there are none"
	if len(object.PropertyOrder) > 0 {
		known = "known are " + strings.Join(object.PropertyOrder, ", ")
	}
	plural := ""
	if len(strange) > 1 {
		plural = "s"
	}
	first, _ := strconv.Unquote(strange[0])
	message := fmt.Sprintf("unknown argument%s %s; %s", plural, strings.Join(strange[:min(len(strange), maxFaults)], ", "), known)
	return append(faults, ArgumentFault{first, message})
}

// OtherNames are the names that other APIs have for arguments of ours, and the arguments that
// may be meant, of which a tool has one at most.
var OtherNames = map[string][]string{
	"max_tokens": {"options.num_predict"}, "max_completion_tokens": {"options.num_predict"},
	"max_output_tokens": {"options.num_predict"}, "max_new_tokens": {"options.num_predict"},
	"stop_sequences": {"options.stop"}, "response_format": {"format"}, "json_schema": {"format"},
	"system": {"messages"}, "system_prompt": {"system", "messages"}, "instructions": {"system", "messages"},
	"prompt": {"messages", "input", "query", "text"}, "messages": {"prompt"}, "message": {"prompt", "messages"},
	"content": {"prompt", "messages", "input"}, "text": {"prompt", "messages", "input"}, "texts": {"input", "inputs", "documents"},
	"choices": {"labels"}, "categories": {"labels"}, "name": {"model"}, "functions": {"tools"},
}

// elsewhere is the argument that another API calls by a name; "" if there is none.
func (s *Schema) elsewhere(name string) string {
	for _, path := range OtherNames[name] {
		if s.at(strings.Split(path, ".")) != nil {
			return path
		}
	}
	return ""
}

// at is what describes the value at a path; nil if nothing does.
func (s *Schema) at(path []string) *Document {
	doc := s.doc
	for _, step := range path {
		object, list := alternative(doc, "object"), alternative(doc, "array")
		switch _, err := strconv.Atoi(step); {
		case err == nil && list != nil:
			doc = list.Items
		case object != nil:
			doc = object.Properties[step]
		default:
			return nil
		}
		if doc == nil {
			return nil
		}
	}
	return doc
}

// holding returns the property of an object that is an object itself and has a property of
// that name; "" if there is none. Callers write temperature beside options, since most other
// APIs have it there.
func holding(object *Document, name string) string {
	for _, property := range object.PropertyOrder {
		if inner := alternative(object.Properties[property], "object"); inner != nil && inner.Properties[name] != nil {
			return property
		}
	}
	return ""
}

// nearestInside returns the path of the property nearest to a name that an object inside the
// object has; "" if none is near.
func nearestInside(object *Document, name string) string {
	for _, property := range object.PropertyOrder {
		if inner := alternative(object.Properties[property], "object"); inner != nil {
			if guess := nearest.Names(name, inner.PropertyOrder, 1); len(guess) > 0 {
				return join(property, guess[0])
			}
		}
	}
	return ""
}

// leaves returns the failures to report: those that no other failure is the cause of. Of a
// choice they are those of the alternative that the value fits best, or the choice itself if
// it fits none.
func leaves(e *validate.ValidationError) []*validate.ValidationError {
	if len(e.Causes) == 0 {
		return []*validate.ValidationError{e}
	}
	if _, isChoice := e.ErrorKind.(*kind.AnyOf); isChoice {
		best, rank := (*validate.ValidationError)(nil), weight(e, e)
		for _, cause := range e.Causes {
			if w := weight(e, deepest(cause)); w > rank {
				best, rank = cause, w
			}
		}
		if best == nil {
			return []*validate.ValidationError{e}
		}
		return leaves(best)
	}
	var all []*validate.ValidationError
	for _, cause := range e.Causes {
		all = append(all, leaves(cause)...)
	}
	return all
}

// natural compares paths, with the numbers in them in the order of their values.
func natural(a, b string) int {
	digit := func(r rune) bool { return r >= '0' && r <= '9' }
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] == b[i] {
			continue
		}
		numberA, numberB := len(a[i:])-len(strings.TrimLeftFunc(a[i:], digit)), len(b[i:])-len(strings.TrimLeftFunc(b[i:], digit))
		return cmp.Or(cmp.Compare(numberA, numberB), cmp.Compare(a[i], b[i]))
	}
	return cmp.Compare(len(a), len(b))
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

// described says which values a document allows. nil is that of a value that may have any name, whose
// type is not looked up.
func described(doc *Document) string {
	if doc == nil {
		return "of another type"
	}
	var choices []string
	for _, choice := range doc.AnyOf {
		choices = append(choices, described(choice))
	}
	for _, value := range doc.Enum {
		choices = append(choices, fmt.Sprintf("%#v", value))
	}
	switch {
	case len(choices) > 0:
		return strings.Join(choices, " or ")
	case doc.Items != nil && len(doc.Items.Properties) > 0:
		return "a list of objects with " + members(doc.Items)
	case len(doc.Properties) > 0:
		return "an object with " + members(doc)
	}
	return typeNames[doc.Type]
}

// members are the names of an object's properties, as many as can be read in passing.
func members(doc *Document) string {
	const most = 8
	names := doc.PropertyOrder
	if names == nil {
		names = slices.Sorted(maps.Keys(doc.Properties))
	}
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " …"
	}
	return strings.Join(names, ", ")
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
