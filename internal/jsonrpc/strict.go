package jsonrpc

import (
	"strings"
	"unicode/utf8"
)

// Strict reads JSON in one pass, in which it also checks it. It is for messages that come often
// and are written alike, and fails for what is wrong, and for what is merely unusual: then the
// message is left to those who can tell the two apart. After a failure nothing more can be read.
type Strict struct {
	text  []byte
	at    int
	depth int
}

// strictDepth is how deep a value may be nested that is read strictly.
const strictDepth = 100

// NewStrict makes a reader of a text. It returns nil if that is not in UTF-8.
func NewStrict(text []byte) *Strict {
	if !utf8.Valid(text) {
		return nil
	}
	return &Strict{text: text}
}

// Members reads an object. For each member that has one of the names it calls visit with the place
// of the name, which has to read the value; it passes over the others. It fails if visit does, and if
// two readers might differ about the members, as in Doubtful.
func (s *Strict) Members(names []string, visit func(name int) bool) bool {
	var seen uint
	return s.open('{') && s.items('}', func() bool {
		name, ok := s.Text()
		if !ok || !s.is(':') {
			return false
		}
		which, ok := place(names, name)
		switch {
		case !ok:
			return false
		case which < 0:
			return s.Skip()
		case seen&(1<<which) != 0:
			return false
		}
		seen |= 1 << which
		return visit(which)
	})
}

// place is where a name stands among others, -1 for none. It fails if another reader may take the
// name for one of the others.
func place(names []string, name []byte) (which int, ok bool) {
	for i, known := range names {
		if string(name) == known {
			return i, true
		}
	}
	for _, known := range names {
		if len(known) == len(name) && strings.EqualFold(known, string(name)) {
			return 0, false
		}
	}
	for _, b := range name {
		if b >= utf8.RuneSelf { // some letters fold to those of ASCII
			return 0, false
		}
	}
	return -1, true
}

// Text reads a string in which nothing is escaped.
func (s *Strict) Text() (inner []byte, ok bool) {
	if !s.is('"') {
		return nil, false
	}
	for begin := s.at; s.at < len(s.text); s.at++ {
		switch b := s.text[s.at]; {
		case b == '"':
			s.at++
			return s.text[begin : s.at-1], true
		case b == '\\' || b < ' ':
			return nil, false
		}
	}
	return nil, false
}

// IsObject reports whether an object comes next.
func (s *Strict) IsObject() bool { return s.next() == '{' }

// End reports whether all of the text has been read.
func (s *Strict) End() bool { return s.next() == 0 && s.at == len(s.text) }

// Skip reads a value of any kind.
func (s *Strict) Skip() bool {
	switch b := s.next(); {
	case b == '"':
		return s.skipText()
	case b == '{':
		return s.open('{') && s.items('}', func() bool { return s.next() == '"' && s.skipText() && s.is(':') && s.Skip() })
	case b == '[':
		return s.open('[') && s.items(']', s.Skip)
	case b == '-' || b >= '0' && b <= '9':
		return s.skipNumber()
	}
	for _, word := range []string{"true", "false", "null"} {
		if end := s.at + len(word); end <= len(s.text) && string(s.text[s.at:end]) == word {
			s.at = end
			return true
		}
	}
	return false
}

// next is the next byte that is no blank; 0 at the end.
func (s *Strict) next() byte {
	s.at = skipBlanks(s.text, s.at)
	if s.at == len(s.text) {
		return 0
	}
	return s.text[s.at]
}

// is reads a byte, and reports whether it was there.
func (s *Strict) is(b byte) bool {
	if s.next() != b || s.at == len(s.text) {
		return false
	}
	s.at++
	return true
}

func (s *Strict) open(bracket byte) bool {
	s.depth++
	return s.depth <= strictDepth && s.is(bracket)
}

// items reads what stands between commas, up to a bracket.
func (s *Strict) items(bracket byte, read func() bool) bool {
	s.depth--
	if s.is(bracket) {
		return true
	}
	s.depth++
	for read() {
		if !s.is(',') {
			s.depth--
			return s.is(bracket)
		}
	}
	return false
}

func (s *Strict) skipText() bool {
	for s.at++; s.at < len(s.text); s.at++ {
		switch b := s.text[s.at]; {
		case b == '"':
			s.at++
			return true
		case b < ' ':
			return false
		case b == '\\':
			if !s.skipEscape() {
				return false
			}
		}
	}
	return false
}

// skipEscape reads an escape but for its last byte.
func (s *Strict) skipEscape() bool {
	s.at++
	if s.at == len(s.text) {
		return false
	}
	if s.text[s.at] != 'u' {
		return strings.IndexByte(`"\/bfnrt`, s.text[s.at]) >= 0
	}
	for range 4 {
		s.at++
		if s.at == len(s.text) || strings.IndexByte("0123456789abcdefABCDEF", s.text[s.at]) < 0 {
			return false
		}
	}
	return true
}

func (s *Strict) skipNumber() bool {
	s.skipByte("-")
	if !s.skipByte("0") && !s.skipDigits() {
		return false
	}
	if s.skipByte(".") && !s.skipDigits() {
		return false
	}
	if s.skipByte("eE") {
		s.skipByte("+-")
		return s.skipDigits()
	}
	return true
}

// skipByte reads one of some bytes, and reports whether there was one.
func (s *Strict) skipByte(of string) bool {
	if s.at == len(s.text) || strings.IndexByte(of, s.text[s.at]) < 0 {
		return false
	}
	s.at++
	return true
}

func (s *Strict) skipDigits() bool {
	begin := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at > begin
}
