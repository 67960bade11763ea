package remote

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// This file decodes the JSON of servers, which do not all write the same. What is not needed
// may be there in any form, and what is needed in every form that servers are known to send.

// Decode decodes JSON, and leaves out members of another type than is expected.
func Decode(raw []byte, into any) error {
	err := json.Unmarshal(raw, into)
	if _, ok := errors.AsType[*json.SyntaxError](err); ok { // nothing has been decoded
		err = json.Unmarshal(valid(raw), into)
	}
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil // encoding/json goes on behind such a member
	}
	return err
}

// Lenient is a value that is an object in JSON, without those of its members that do not have
// the form that they should have.
type Lenient[T any] struct{ Value T }

// UnmarshalJSON implements json.Unmarshaler.
func (l *Lenient[T]) UnmarshalJSON(raw []byte) error {
	if json.Unmarshal(raw, &l.Value) == nil {
		return nil
	}
	l.Value = *new(T)
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		return err
	}
	for name, value := range members {
		if l.take(name, value) {
			continue
		}
		var n Number
		if json.Unmarshal(value, &n) == nil && n > 0 {
			l.take(name, []byte(strconv.FormatInt(int64(n), 10)))
		}
	}
	return nil
}

// take decodes one member, and reports whether it has the form that it should have.
func (l *Lenient[T]) take(name string, value json.RawMessage) bool {
	alone, err := json.Marshal(map[string]json.RawMessage{name: value})
	before := l.Value
	if err != nil || json.Unmarshal(alone, &l.Value) != nil {
		l.Value = before
		return false
	}
	return true
}

// noNumbers are what Python writes for numbers that JSON does not have.
var noNumbers = []string{"NaN", "-Infinity", "Infinity"}

// valid is the JSON that some servers mean which write none: NaN and the like are null, and
// control characters in texts are escaped.
func valid(raw []byte) []byte {
	fixed := make([]byte, 0, len(raw)+16)
	inText := false
	for i := 0; i < len(raw); i++ {
		b := raw[i]
		switch {
		case inText && b < ' ':
			fixed = fmt.Appendf(fixed, `\u%04x`, b)
			continue
		case inText && b == '\\' && i+1 < len(raw):
			fixed = append(fixed, b)
			i++
			b = raw[i]
		case b == '"':
			inText = !inText
		case !inText:
			at := slices.IndexFunc(noNumbers, func(word string) bool { return bytes.HasPrefix(raw[i:], []byte(word)) })
			if at >= 0 {
				fixed = append(fixed, "null"...)
				i += len(noNumbers[at]) - 1
				continue
			}
		}
		fixed = append(fixed, b)
	}
	return fixed
}

// OneOrMore is a list, or a single element in its place.
type OneOrMore[T any] []T

func (l *OneOrMore[T]) UnmarshalJSON(raw []byte) error {
	switch raw[0] {
	case '[':
		return Decode(raw, (*[]T)(l))
	case '{':
		*l = make([]T, 1)
		return Decode(raw, &(*l)[0])
	}
	*l = nil
	return nil
}

// Number is a whole number from 0 by its value, in whatever way it is written.
type Number int64

func (n *Number) UnmarshalJSON(raw []byte) error {
	*n = 0
	text := strings.TrimSpace(strings.Trim(string(raw), `"`))
	if value, err := strconv.ParseFloat(text, 64); err == nil && value > 0 {
		*n = Number(min(value, 1<<53)) // up to which a float64 has all whole numbers
	}
	return nil
}

// Label is a word or an id, by its text.
type Label string

func (l *Label) UnmarshalJSON(raw []byte) error {
	*l = ""
	switch {
	case raw[0] == '"':
		return json.Unmarshal(raw, (*string)(l))
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		*l = Label(raw)
	}
	return nil
}
