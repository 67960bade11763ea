// Package jsontext finds its way in JSON that is not decoded.
package jsontext

import "bytes"

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
