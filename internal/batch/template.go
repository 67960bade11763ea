package batch

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/nearest"
)

// Template is a prompt with places for the fields of an input: {{input}} stands for the whole
// input, and {{name}} for a field of an input that is an object.
type Template struct {
	text   string
	pieces []string // between the fields, one more than there are
	fields []string // at most one more than MaxFields
}

var placeholder = regexp.MustCompile(`\{\{[^{}\n]*\}\}`)

// MaxFields is how many places for fields a template may have.
const MaxFields = 1000

// ParseTemplate reads a template. Every text is one, but Render refuses one with too many places.
func ParseTemplate(text string) *Template {
	t := &Template{text: text}
	at := 0
	for _, place := range placeholder.FindAllStringIndex(text, MaxFields+1) {
		t.pieces = append(t.pieces, text[at:place[0]])
		t.fields = append(t.fields, strings.TrimSpace(text[place[0]+2:place[1]-2]))
		at = place[1]
	}
	t.pieces = append(t.pieces, text[at:])
	return t
}

// whole is the field that stands for the whole input.
const whole = "input"

// Render puts an input into the template. Its error is a *fault.Error, about the argument
// "prompt". A prompt that would be too large is not made: a template may name a long input often.
func (t *Template) Render(in Input) (string, error) {
	if len(t.fields) == 0 && in.Image == nil { // an image is sent beside the prompt
		return "", fault.Invalidf(`argument "prompt" has no {{input}}, so every input would get the same prompt: put {{input}} where the input belongs`)
	}
	if len(t.fields) > MaxFields {
		return "", fault.Invalidf(`argument "prompt" has more than %d places such as {{input}}`, MaxFields)
	}
	size, values := 0, make([]string, len(t.fields))
	for i, field := range t.fields {
		value, ok := in.Fields[field]
		switch {
		case ok:
		case field == whole:
			value = in.Text
		default:
			return "", unknownField(field, in)
		}
		values[i] = value
		size += len(value)
	}
	for _, piece := range t.pieces {
		size += len(piece)
	}
	if size > MaxInputBytes {
		return "", tooLarge("the prompt for "+in.Name, size)
	}
	var b strings.Builder
	b.Grow(size)
	for i, piece := range t.pieces {
		b.WriteString(piece)
		if i < len(values) {
			b.WriteString(values[i])
		}
	}
	return b.String(), nil
}

// unknownField is the error of a template that names a field which an input does not have.
func unknownField(field string, in Input) *fault.Error {
	known := []string{whole}
	for _, name := range slices.Sorted(maps.Keys(in.Fields)) {
		if name != whole {
			known = append(known, name)
		}
	}
	e := fault.Invalidf(`argument "prompt": %s has no field %.100q for {{%.100s}}`, in.Name, field, field)
	if near := nearest.Names(field, known, 1); len(near) > 0 {
		e.Hint = fmt.Sprintf("did you mean {{%.100s}}?", near[0])
		return e
	}
	const most = 20
	names := strings.Join(known[:min(most, len(known))], ", ")
	if len(known) > most {
		names += ", …"
	}
	e.Hint = fmt.Sprintf("its fields are: %.500s", names)
	return e
}

// parseInput reads an input that is JSON: a text, a number, or an object with fields. name says
// which it is, for messages.
func parseInput(name string, raw json.RawMessage) (Input, error) {
	in := Input{Name: name}
	switch raw[0] {
	case '"':
		err := json.Unmarshal(raw, &in.Text)
		return in, err
	case '{':
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			return in, err
		}
		in.Fields = make(map[string]string, len(fields))
		for field, value := range fields {
			in.Fields[field] = fieldText(value)
		}
	}
	in.Text = fieldText(raw)
	if in.Text == "" {
		return in, fault.Invalidf("%s is null: leave it out", name)
	}
	return in, nil
}

// fieldText is how a prompt has a value of JSON: a text without its quotes, null as nothing.
func fieldText(raw json.RawMessage) string {
	switch raw[0] {
	case '"':
		var text string
		if err := json.Unmarshal(raw, &text); err == nil {
			return text
		}
	case 'n':
		return ""
	}
	return string(raw)
}
