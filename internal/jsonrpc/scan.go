// Package jsonrpc reads JSON-RPC messages without decoding them.
//
// It splits a stream into lines; finds the id, the method and the kind of a message, even of
// one that is too large to be kept; finds members and strings in JSON; and appends strings as
// JSON. It does not check that a message is valid JSON: whoever decodes it does.
package jsonrpc

import (
	"bytes"
	"strings"
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
	if len(object) == 0 || object[0] != '{' {
		return 0, 0
	}
	for comma := 0; comma < len(object) && object[comma] != '}'; {
		colon := skipValue(object, comma+1)
		end := skipValue(object, colon+1)
		if isNamed(bytes.TrimSpace(object[comma+1:colon]), name) {
			from, to = min(colon+1, end), end
		}
		comma = end
	}
	return to - len(bytes.TrimLeft(object[from:to], " \t\r\n")), to
}

func isNamed(token []byte, name string) bool {
	if len(token) < len(name)+len(`""`) {
		return false // as most are, and need not be looked at
	}
	key, ok := Text(token)
	return ok && strings.EqualFold(key, name)
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
