package ollama

import (
	"bytes"
	"unicode/utf8"

	"ollama-mcp/internal/backend/remote"
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
			c.known = true
			return s.string((*string)(&c.Response))
		case "thinking":
			return s.string((*string)(&c.Thinking))
		case "message":
			c.known = true
			return s.object(func(key []byte) bool {
				switch string(key) {
				case "content":
					return s.string((*string)(&c.Message.Content))
				case "thinking":
					return s.string((*string)(&c.Message.Thinking))
				case "role":
					return s.string(nil)
				}
				return false
			})
		case "remote_host":
			return s.label(&c.RemoteHost)
		case "model", "created_at", "remote_model":
			return s.string(nil)
		case "done":
			c.known = true
			return s.bool((*bool)(&c.Done))
		case "done_reason":
			return s.label(&c.DoneReason)
		case "context":
			return s.numbers()
		case "total_duration":
			return s.number(nil)
		case "load_duration":
			return s.number(&c.LoadDuration)
		case "prompt_eval_count":
			return s.number(&c.PromptEvalCount)
		case "prompt_eval_duration":
			return s.number(&c.PromptEvalDuration)
		case "eval_count":
			return s.number(&c.EvalCount)
		case "eval_duration":
			return s.number(&c.EvalDuration)
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
	case !plain && bytes.IndexByte(raw, '\\') >= 0:
		decoded, ok := remote.Unescape(raw)
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

// label reads a string that encoding/json would not change: of its characters none is broken.
func (s *scanner) label(to *remote.Label) bool {
	return s.string((*string)(to)) && utf8.ValidString(string(*to))
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

// number reads an integer from 0 that has at most 15 digits into to, or checks it if to is nil.
func (s *scanner) number(to *remote.Number) bool {
	first := s.peek()
	n, digits := remote.Number(0), 0
	for ; s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9'; s.at++ {
		n = 10*n + remote.Number(s.text[s.at]-'0')
		if digits++; digits > 15 {
			return false
		}
	}
	if to != nil {
		*to = n
	}
	return digits == 1 || digits > 1 && first != '0'
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
		if !s.number(nil) {
			return false
		}
		if !s.byte(',') {
			return s.byte(']')
		}
	}
}
