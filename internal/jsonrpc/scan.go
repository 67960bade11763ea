// Package jsonrpc reads JSON-RPC messages without decoding them.
//
// It splits a stream into lines; finds the id, the method and the kind of a message, even of
// one that is too large to be kept; finds members and strings in JSON; and appends strings as
// JSON. It does not check that a message is valid JSON, since decoding it does.
package jsonrpc

import (
	"bytes"
	"iter"
)

// StringEnd returns the index behind the string in JSON that begins, with its quote, at
// text[begin]; len(text) if the string does not end.
func StringEnd(text []byte, begin int) int {
	for i := begin; ; {
		n := bytes.IndexByte(text[i+1:], '"')
		if n < 0 {
			return len(text)
		}
		i += 1 + n
		before := text[begin+1 : i]
		if escapes := len(before) - len(bytes.TrimRight(before, `\`)); escapes%2 == 0 {
			return i + 1
		}
	}
}

// Member returns where the value of a member of a JSON object begins and ends. Where
// there are several, that is the last, and case does not matter, as in encoding/json;
// where there is none, they are equal. It does not check that the object is JSON.
func Member(object []byte, name string) (from, to int) {
	for token, at := range members(object) {
		if isFolded(token, name) {
			from, to = at.from, at.to
		}
	}
	return to - len(bytes.TrimLeft(object[from:to], " \t\r\n")), to
}

// Doubtful reports whether two readers of a JSON object may differ about one of the named
// members, because it occurs twice, or in another case: Go's decoder takes "Method" for
// "method" and the last of two, most others do neither. A proxy that has checked a message
// must have read what is executed.
func Doubtful(object []byte, names ...string) bool {
	var seen uint
	for token := range members(object) {
		if doubtful(token, names, &seen) {
			return true
		}
	}
	return false
}

// doubtful reports whether a name, in quotes, is that of a member that has been seen, or is one
// of the names but for its case. It marks in seen which of the names it is.
func doubtful(token []byte, names []string, seen *uint) bool {
	for i, known := range names {
		if isFolded(token, known) {
			again := *seen&(1<<i) != 0
			*seen |= 1 << i
			return again || !is(token, known)
		}
	}
	return false
}

// EmptyObjects turns each empty array in JSON into an empty object, in place. Some languages
// write both alike.
func EmptyObjects(text []byte) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = StringEnd(text, i) - 1
		case '[':
			if end := skipBlanks(text, i+1); end < len(text) && text[end] == ']' {
				text[i], text[end] = '{', '}'
			}
		}
	}
}

// EmptyObject does what EmptyObjects does, if all of the text is one empty array.
func EmptyObject(text []byte) {
	if len(text) > 0 && text[0] == '[' && skipBlanks(text, 1) == len(text)-1 {
		EmptyObjects(text)
	}
}

// HasEmptyArray reports whether there may be an empty array in JSON: a text that looks like
// one counts too.
func HasEmptyArray(text []byte) bool {
	for i := 0; ; {
		n := bytes.IndexByte(text[i:], '[')
		if n < 0 {
			return false
		}
		i += n + 1
		if end := skipBlanks(text, i); end < len(text) && text[end] == ']' {
			return true
		}
	}
}

func skipBlanks(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n') {
		i++
	}
	return i
}

// span is where something begins and ends in a text.
type span struct{ from, to int }

// members goes through the members of a JSON object: their names, with quotes, and where
// their values are, with blanks around them.
func members(object []byte) iter.Seq2[[]byte, span] {
	return func(yield func([]byte, span) bool) {
		if len(object) == 0 || object[0] != '{' {
			return
		}
		for comma := 0; comma < len(object) && object[comma] != '}'; {
			colon := skipValue(object, comma+1)
			end := skipValue(object, colon+1)
			if !yield(bytes.TrimSpace(object[comma+1:colon]), span{min(colon+1, end), end}) {
				return
			}
			comma = end
		}
	}
}

// skipValue returns the index just past the name or value that starts at i: that of the
// comma, colon or bracket which ends it.
func skipValue(text []byte, i int) int {
	for depth := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = StringEnd(text, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',', ':':
			if depth == 0 {
				return i
			}
		}
	}
	return len(text)
}
