package ollama

import (
	"bytes"
	"math"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// parse reads a line in the form that Ollama's server writes, without the reflection of
// encoding/json, which costs several times as much as all else that is done for a piece.
// It reports false, and leaves c in any state, for all that is unusual: that is left to
// encoding/json, with which it agrees on everything else.
func (c *chunk) parse(line []byte) bool {
	s := scanner{text: line}
	ok := s.object(func(key []byte) bool {
		switch string(key) {
		case "response":
			return s.string(&c.Response)
		case "thinking":
			return s.string(&c.Thinking)
		case "message":
			return s.object(func(key []byte) bool {
				switch string(key) {
				case "content":
					return s.string(&c.Message.Content)
				case "thinking":
					return s.string(&c.Message.Thinking)
				case "role":
					return s.string(nil)
				}
				return false
			})
		case "remote_host":
			return s.string(&c.RemoteHost)
		case "model", "created_at", "remote_model":
			return s.string(nil)
		case "done":
			return s.bool(&c.Done)
		case "done_reason":
			return s.string((*string)(&c.DoneReason))
		case "context":
			return s.numbers()
		case "total_duration":
			return s.duration(&c.TotalDuration)
		case "load_duration":
			return s.duration(&c.LoadDuration)
		case "prompt_eval_count":
			return s.count(&c.PromptEvalCount)
		case "prompt_eval_duration":
			return s.duration(&c.PromptEvalDuration)
		case "eval_count":
			return s.count(&c.EvalCount)
		case "eval_duration":
			return s.duration(&c.EvalDuration)
		}
		return false
	})
	return ok && s.peek() == 0 && s.at == len(s.text)
}

// scanner reads JSON from left to right. Its methods report whether the text goes on as
// they expect it to.
type scanner struct {
	text []byte
	at   int // where to read on
}

// peek passes white space and returns the byte behind it; 0 at the end.
func (s *scanner) peek() byte {
	for s.at < len(s.text) {
		switch b := s.text[s.at]; b {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return b
		}
	}
	return 0
}

// byte passes white space and then one byte, which must be b.
func (s *scanner) byte(b byte) bool {
	if s.peek() != b {
		return false
	}
	s.at++
	return true
}

// object reads an object. Field is called for each key, and reads the value.
func (s *scanner) object(field func(key []byte) bool) bool {
	if !s.byte('{') {
		return false
	}
	if s.byte('}') {
		return true
	}
	for {
		key, plain := s.quoted()
		if !plain || !s.byte(':') || !field(key) {
			return false
		}
		if !s.byte(',') {
			return s.byte('}')
		}
	}
}

// quoted reads a string and returns what stands between its quotes. It is plain if that
// is the text itself, with nothing to decode and nothing to check.
func (s *scanner) quoted() (raw []byte, plain bool) {
	if !s.byte('"') {
		return nil, false
	}
	plain = true
	for i := s.at; i < len(s.text); i++ {
		switch b := s.text[i]; {
		case b == '"':
			raw = s.text[s.at:i]
			s.at = i + 1
			return raw, plain
		case b == '\\':
			plain = false
			i++ // whatever is escaped does not end the string
		case b < ' ':
			return nil, false
		case b >= utf8.RuneSelf:
			plain = false
		}
	}
	return nil, false
}

// string reads a string into to, or checks it if to is nil.
func (s *scanner) string(to *string) bool {
	raw, plain := s.quoted()
	switch {
	case raw == nil:
		return false
	case !plain && !utf8.Valid(raw):
		return false
	case !plain && bytes.IndexByte(raw, '\\') >= 0:
		decoded, ok := unescape(raw)
		if !ok {
			return false
		}
		raw = decoded
	}
	if to != nil {
		*to = string(raw)
	}
	return true
}

// unescape replaces the escapes in a JSON string.
func unescape(raw []byte) (text []byte, ok bool) {
	text = make([]byte, 0, len(raw))
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(text, raw...), true
		}
		text = append(text, raw[:i]...)
		raw = raw[i+1:]
		if len(raw) == 0 {
			return nil, false
		}
		const escapes, meanings = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
		if at := strings.IndexByte(escapes, raw[0]); at >= 0 {
			text = append(text, meanings[at])
			raw = raw[1:]
			continue
		}
		r, length := unicodeEscape(raw)
		if length == 0 {
			return nil, false
		}
		text = utf8.AppendRune(text, r)
		raw = raw[length:]
	}
}

// unicodeEscape decodes uXXXX, or the two escapes of a surrogate pair, at the beginning
// of raw, whose backslash has been passed. The length is 0 if there is no valid one.
func unicodeEscape(raw []byte) (r rune, length int) {
	r, ok := hexRune(raw)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 5
	}
	if len(raw) < 6 || raw[5] != '\\' {
		return 0, 0
	}
	low, ok := hexRune(raw[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, 11
}

// hexRune decodes uXXXX at the beginning of raw.
func hexRune(raw []byte) (r rune, ok bool) {
	if len(raw) < 5 || raw[0] != 'u' {
		return 0, false
	}
	for _, b := range raw[1:5] {
		switch {
		case b >= '0' && b <= '9':
			b -= '0'
		case b >= 'a' && b <= 'f':
			b -= 'a' - 10
		case b >= 'A' && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(b)
	}
	return r, true
}

func (s *scanner) bool(to *bool) bool {
	s.peek()
	rest := s.text[s.at:]
	switch {
	case bytes.HasPrefix(rest, []byte("true")):
		*to, s.at = true, s.at+4
	case bytes.HasPrefix(rest, []byte("false")):
		*to, s.at = false, s.at+5
	default:
		return false
	}
	return true
}

// number reads an integer from 0 that has at most 18 digits.
func (s *scanner) number(to *int64) bool {
	first := s.peek()
	n, digits := int64(0), 0
	for ; s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9'; s.at++ {
		n = 10*n + int64(s.text[s.at]-'0')
		if digits++; digits > 18 {
			return false
		}
	}
	*to = n
	return digits == 1 || digits > 1 && first != '0'
}

func (s *scanner) count(to *int) bool {
	var n int64
	ok := s.number(&n) && n <= math.MaxInt
	*to = int(n)
	return ok
}

func (s *scanner) duration(to *time.Duration) bool {
	var n int64
	ok := s.number(&n)
	*to = time.Duration(n)
	return ok
}

// numbers passes a list of numbers.
func (s *scanner) numbers() bool {
	if !s.byte('[') {
		return false
	}
	if s.byte(']') {
		return true
	}
	for {
		var n int64
		if !s.number(&n) {
			return false
		}
		if !s.byte(',') {
			return s.byte(']')
		}
	}
}
