package remote

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// ofPython are values that Python writes, and what they are in JSON.
var ofPython = []struct{ written, meant string }{
	{"NaN", "null"}, {"-Infinity", "null"}, {"Infinity", "null"}, {"None", "null"}, {"True", "true"}, {"False", "false"},
}

// valid is the JSON that some servers mean which write none: NaN and the like are null, control
// characters in texts are escaped, and a comma behind the last member or element is left out.
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
			at := slices.IndexFunc(ofPython, func(word struct{ written, meant string }) bool { return bytes.HasPrefix(raw[i:], []byte(word.written)) })
			if at >= 0 {
				fixed = append(fixed, ofPython[at].meant...)
				i += len(ofPython[at].written) - 1
				continue
			}
			if next := bytes.TrimLeft(raw[i+1:], " \t\r\n"); b == ',' && len(next) > 0 && (next[0] == '}' || next[0] == ']') {
				continue
			}
		}
		fixed = append(fixed, b)
	}
	return fixed
}

// OneOrMore is a list, or in its place a single element, or an object whose members are the
// elements by their numbers: {"0": …, "1": …}.
type OneOrMore[T any] []T

func (l *OneOrMore[T]) UnmarshalJSON(raw []byte) error {
	switch raw[0] {
	case '[':
		return Decode(raw, (*[]T)(l))
	case '{':
		if all := numbered(raw); all != nil {
			return Decode(all, (*[]T)(l))
		}
		*l = make([]T, 1)
		return Decode(raw, &(*l)[0])
	}
	*l = nil
	return nil
}

// numbered is the list that an object with numbers for names stands for; nil for any other object.
func numbered(raw []byte) []byte {
	if name := bytes.TrimLeft(raw[1:], " \t\r\n\""); len(name) == 0 || name[0] < '0' || name[0] > '9' {
		return nil
	}
	var members map[int]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return nil
	}
	all := make([][]byte, 0, len(members))
	for _, number := range slices.Sorted(maps.Keys(members)) {
		all = append(all, members[number])
	}
	return slices.Concat([]byte("["), bytes.Join(all, []byte(",")), []byte("]"))
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
