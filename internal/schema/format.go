package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	validate "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Format is the form that a caller wants a model's answer in. It is for the answer to one
// request: all its checks together take a bounded number of steps.
type Format struct {
	compiled *validate.Schema
	left     atomic.Int64 // steps
}

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

// CompileFormat compiles a format as Ollama takes it: "json", in quotes, for
// any object, or a JSON Schema. It returns a *FormatError for one that is no
// schema, that refers to other documents, that is too expensive to check
// answers against, or that would crash Ollama's runner.
func CompileFormat(raw json.RawMessage) (*Format, error) {
	if bytes.HasPrefix(raw, []byte(`"`)) {
		raw = json.RawMessage(`{"type":"object"}`)
	}
	if err := checkSize(raw); err != nil {
		return nil, err
	}
	compiled, err := compile(raw)
	if err != nil {
		return nil, unusable("is not a valid JSON schema: %s", innermost(err))
	}
	if err := checkPaths(compiled); err != nil {
		return nil, err
	}
	if err := crashes(compiled); err != nil {
		return nil, err
	}
	f := &Format{compiled: compiled}
	f.left.Store(maxStepsTogether)
	return f, nil
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

// Decode is like the function Decode, for texts of a bounded size.
func (f *Format) Decode(text string) (any, error) {
	if len(text) > maxText {
		return nil, &MismatchError{fmt.Sprintf("it is longer than %d MiB", maxText>>20)}
	}
	return Decode(text)
}

// Check returns a *MismatchError if a value that Decode returned does not fit, or if it
// cannot be known in a bounded number of steps.
func (f *Format) Check(value any) error {
	if err := checkValue(value, 1); err != nil {
		return err
	}
	steps, ok := stepsOf(f.compiled, value, min(maxSteps, int(f.left.Load())))
	if f.left.Add(-int64(steps)); !ok {
		return &MismatchError{"it is too large for this schema: checking it takes too many steps"}
	}
	if err := f.compiled.Validate(value); err != nil {
		return &MismatchError{innermost(err)}
	}
	return nil
}

// innermost returns the reason for which a schema or a value is refused,
// without the failures around it that follow from it.
func innermost(err error) string {
	if broken, ok := errors.AsType[*validate.SchemaValidationError](err); ok {
		err = broken.Err
	}
	if refused, ok := errors.AsType[*validate.ValidationError](err); ok {
		left := maxCauses
		err = limitCauses(deepest(refused), &left)
	}
	return oneLine(err)
}

const (
	maxCauses  = 20  // failures that a message tells of
	maxMessage = 500 // bytes of a message
	maxQuoted  = 100 // bytes that a message quotes of a value
)

// limitCauses returns a failure with so many of its causes as are left, since its message names
// them all.
func limitCauses(e *validate.ValidationError, left *int) *validate.ValidationError {
	short := *e
	short.Causes = nil
	switch k := e.ErrorKind.(type) { // those that quote the value
	case *kind.Format:
		if text, ok := k.Got.(string); ok {
			short.ErrorKind = &kind.Format{Got: shorten(text, maxQuoted), Want: k.Want, Err: k.Err}
		}
	case *kind.Pattern:
		short.ErrorKind = &kind.Pattern{Got: shorten(k.Got, maxQuoted), Want: k.Want}
	}
	for _, cause := range e.Causes {
		if *left--; *left < 0 {
			break
		}
		short.Causes = append(short.Causes, limitCauses(cause, left))
	}
	return &short
}

func oneLine(err error) string {
	return shorten(strings.Join(strings.Fields(err.Error()), " "), maxMessage)
}
