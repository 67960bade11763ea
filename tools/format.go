package tools

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	validate "github.com/santhosh-tekuri/jsonschema/v6"

	"ollama-mcp/internal/backend"
)

// shape is the form that a caller wants the answer in; nil if text will do.
type shape struct{ schema *validate.Schema }

// compile checks the format before a model is asked for it.
func (f format) compile() (*shape, error) {
	if f.IsZero() {
		return nil, nil
	}
	raw := f.RawMessage
	if raw[0] == '"' { // "json": any object
		raw = json.RawMessage(`{"type":"object"}`)
	}
	if nesting(raw) > deepestFormat {
		return nil, invalid(`argument "format" is nested more than %d deep`, deepestFormat)
	}
	schema, err := compileSchema(raw)
	if err != nil {
		return nil, invalid(`argument "format" is not a valid JSON schema: %s`, innermost(err))
	}
	if err := crashes(schema); err != nil {
		return nil, err
	}
	return &shape{schema}, nil
}

// deepestFormat is how deep a schema may be nested. Ollama's runner crashes on
// one of 100 levels, and 50 are more than any answer needs.
const deepestFormat = 50

// nesting counts the objects and lists within one another in valid JSON.
func nesting(raw json.RawMessage) (deepest int) {
	depth := 0
	for dec := json.NewDecoder(bytes.NewReader(raw)); ; {
		token, err := dec.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// innermost is the reason for which a schema or a value is refused, without the
// whole of what was held against it.
func innermost(err error) string {
	if broken, ok := errors.AsType[*validate.SchemaValidationError](err); ok {
		err = broken.Err
	}
	if refused, ok := errors.AsType[*validate.ValidationError](err); ok {
		err = deepest(refused)
	}
	return oneLine(err)
}

// read parses an answer and checks it. Only an object can be structured
// content; of any other value the text is all that is returned.
func (s *shape) read(a *backend.Answer) (any, error) {
	if s == nil {
		return nil, nil
	}
	value, err := s.parse(a.Text)
	if err != nil {
		return nil, misfit(a, err)
	}
	if object, ok := value.(map[string]any); ok {
		return object, nil
	}
	return nil, nil
}

// parse fails if the text is not JSON of the shape.
func (s *shape) parse(text string) (any, error) {
	value, err := validate.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	value = cleanAll(value) // of what was escaped in the text
	return value, s.schema.Validate(value)
}

// misfit is the error of an answer that is not what the format asked for.
func misfit(a *backend.Answer, err error) *Error {
	e := &Error{
		Code: Upstream, Message: "the answer does not fit the format: " + innermost(err), Retryable: true,
		Hint: "try again, ask for less, or use a simpler schema", Partial: a.Text,
	}
	switch cut := a.DoneReason == "length"; {
	case cut && isEmpty(a) && a.Thinking != "":
		e.Message = fmt.Sprintf("the model spent all its %d tokens on thinking and answered nothing", a.Tokens)
		e.Hint = "raise options.num_predict, or set think to false"
	case cut:
		e.Message = fmt.Sprintf("the answer does not fit the format, since it was cut after %d tokens", a.Tokens)
		e.Hint = "raise options.num_predict, or options.num_ctx if the context is full"
	case isEmpty(a):
		e.Message = "the answer does not fit the format: it is empty"
	}
	return e
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
