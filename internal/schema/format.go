package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	validate "github.com/santhosh-tekuri/jsonschema/v6"
)

// Format is the form that a caller wants a model's answer in.
type Format struct{ compiled *validate.Schema }

// FormatError says in one line why a caller's schema cannot be used. Its
// message completes a sentence whose subject is the schema, such as "is nested
// more than 50 deep".
type FormatError struct{ message string }

func (e *FormatError) Error() string { return e.message }

func unusable(format string, args ...any) *FormatError {
	return &FormatError{fmt.Sprintf(format, args...)}
}

// MismatchError says in one line how a value does not fit a Format.
type MismatchError struct{ message string }

func (e *MismatchError) Error() string { return e.message }

// maxNesting is how deep a caller's schema may be nested. Ollama's runner
// crashes on one of 100 levels, and 50 are more than any answer needs.
const maxNesting = 50

// CompileFormat compiles a format as Ollama takes it: "json", in quotes, for
// any object, or a JSON Schema. It returns a *FormatError for one that is no
// schema, that refers to other documents, or that would crash Ollama's runner.
func CompileFormat(raw json.RawMessage) (*Format, error) {
	if bytes.HasPrefix(raw, []byte(`"`)) {
		raw = json.RawMessage(`{"type":"object"}`)
	}
	if nesting(raw) > maxNesting {
		return nil, unusable("is nested more than %d deep", maxNesting)
	}
	compiled, err := compile(raw)
	if err != nil {
		return nil, unusable("is not a valid JSON schema: %s", innermost(err))
	}
	if err := crashes(compiled); err != nil {
		return nil, err
	}
	return &Format{compiled}, nil
}

// Decode parses the text of an answer the way Check wants its values: numbers
// keep all their digits. Text after the value is an error.
func Decode(text string) (any, error) {
	value, err := validate.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, &MismatchError{oneLine(err)}
	}
	return value, nil
}

// Check returns a *MismatchError if a value that Decode returned does not fit.
func (f *Format) Check(value any) error {
	if err := f.compiled.Validate(value); err != nil {
		return &MismatchError{innermost(err)}
	}
	return nil
}

// nesting counts the objects and lists within one another in valid JSON.
func nesting(raw json.RawMessage) (most int) {
	depth := 0
	for dec := json.NewDecoder(bytes.NewReader(raw)); ; {
		token, err := dec.Token()
		if err != nil {
			return most
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			most = max(most, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// innermost returns the reason for which a schema or a value is refused,
// without the failures around it that follow from it.
func innermost(err error) string {
	if broken, ok := errors.AsType[*validate.SchemaValidationError](err); ok {
		err = broken.Err
	}
	if refused, ok := errors.AsType[*validate.ValidationError](err); ok {
		err = deepest(refused)
	}
	return oneLine(err)
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
