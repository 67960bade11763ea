package jsonrpc

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

const (
	// MaxToken is the longest id and method, in bytes, that a message may have.
	MaxToken = 256

	// MaxDepth is how many objects and arrays encoding/json takes inside each other.
	MaxDepth = 10_000
)

// Envelope collects what a JSON-RPC message says at its top level. A message is written to it
// in pieces of any size, and almost nothing of it is kept, so that even a message that is too
// large can be answered, wherever in it the id stands.
//
// Of input that is not JSON the fields may say anything.
type Envelope struct {
	IsObject bool
	IsReply  bool   // has a result or an error, as only the answer to a request has
	IsDeep   bool   // more than MaxDepth
	Doubtful bool   // two readers may take different members of it for the protocol's; see Doubtful
	Values   int    // objects, arrays, and what stands in them, names included: at most as many
	id       []byte // the JSON value of the last "id"; empty if there is none
	method   []byte // likewise

	depth   int // of the objects and arrays that are open
	quoted  bool
	escaped bool   // after a backslash in a string
	member  string // of the object, whose value is being read; "" before its colon
	token   []byte // the name or value being read, without blanks; cut after MaxToken
	seen    uint   // a bit for each of topMembers that there has been
}

// topMembers are those that the protocol has at the top level of a message.
var topMembers = []string{"jsonrpc", "id", "method", "params", "result", "error"}

// Reset makes an envelope ready for another message.
func (e *Envelope) Reset() {
	*e = Envelope{id: e.id[:0], method: e.method[:0], token: e.token[:0]}
}

// Write never fails.
func (e *Envelope) Write(p []byte) (int, error) {
	for i := 0; i < len(p); i++ {
		if e.quoted && !e.escaped && !e.keeps() {
			// Most of a large message is text of no interest.
			for i < len(p) && p[i] != '"' && p[i] != '\\' {
				i++
			}
			if i == len(p) {
				break
			}
		}
		e.step(p[i])
	}
	return len(p), nil
}

func (e *Envelope) step(b byte) {
	if e.quoted {
		e.keep(b)
		e.quoted = b != '"' || e.escaped
		e.escaped = b == '\\' && !e.escaped
		return
	}
	switch b {
	case ' ', '\t', '\r', '\n':
		return
	case '"':
		e.quoted = true
	case '{', '[':
		if e.depth == 0 {
			e.IsObject = b == '{'
		}
		e.depth++
		e.Values++
		e.IsDeep = e.IsDeep || e.depth > MaxDepth
		if e.depth == 1 {
			return
		}
	case '}', ']':
		e.depth--
		if e.depth == 0 {
			e.endMember()
			return
		}
	case ':':
		e.Values++
		if e.depth == 1 {
			e.beginValue()
			return
		}
	case ',':
		e.Values++
		if e.depth == 1 {
			e.endMember()
			return
		}
	}
	e.keep(b)
}

// keeps reports whether the token being read may matter and is not too long: the name of a
// member, or the value of "id" or "method".
func (e *Envelope) keeps() bool {
	ours := e.depth == 1 && e.member == "" || e.member == "id" || e.member == "method"
	return ours && len(e.token) <= MaxToken
}

func (e *Envelope) keep(b byte) {
	if e.keeps() {
		e.token = append(e.token, b)
	}
}

func (e *Envelope) beginValue() {
	e.member = "other"
	e.Doubtful = doubtful(e.token, topMembers, &e.seen) || e.Doubtful
	for _, name := range topMembers {
		if !is(e.token, name) {
			continue
		}
		switch name {
		case "id", "method":
			e.member = name
		case "result", "error":
			e.IsReply = true
		}
	}
	e.token = e.token[:0]
}

func (e *Envelope) endMember() {
	switch e.member {
	case "id":
		e.id = append(e.id[:0], e.token...)
	case "method":
		e.method = append(e.method[:0], e.token...)
	}
	e.member, e.token = "", e.token[:0]
}

// HasID reports whether there is an id. The id null counts as none.
func (e *Envelope) HasID() bool {
	return len(e.id) > 0 && string(e.id) != "null"
}

// RequestID is the id as it was sent, if it is one that a request may have: a string in
// UTF-8 or a number. The caller keeps it.
func (e *Envelope) RequestID() (id json.RawMessage, ok bool) {
	if len(e.id) == 0 || len(e.id) > MaxToken || !utf8.Valid(e.id) || !json.Valid(e.id) {
		return nil, false
	}
	if b := e.id[0]; b != '"' && b != '-' && (b < '0' || b > '9') {
		return nil, false
	}
	return append(id, e.id...), true
}

// ValidUTF8 is JSON in which each byte that is no UTF-8 has become U+FFFD: encoding/json
// takes such bytes, and an answer must not have them.
func ValidUTF8(text []byte) []byte {
	if utf8.Valid(text) {
		return text
	}
	return []byte(string([]rune(string(text))))
}

// MethodName is the method, if there is one.
func (e *Envelope) MethodName() (name string, ok bool) {
	return Text(e.method)
}

// Text is what a JSON string stands for.
func Text(token []byte) (s string, ok bool) {
	inner, plain := quoted(token)
	switch {
	case plain:
		return string(inner), true
	case inner == nil:
		return "", false
	}
	err := json.Unmarshal(token, &s)
	return s, err == nil
}

// quoted returns what stands between the quotes of a JSON string, and whether that is what the
// string stands for, since nothing in it is escaped. It returns nil for anything else, and for
// a string that is too long.
func quoted(token []byte) (inner []byte, plain bool) {
	n := len(token)
	if n < 2 || n > MaxToken || token[0] != '"' || token[n-1] != '"' {
		return nil, false
	}
	inner = token[1 : n-1]
	return inner, bytes.IndexByte(inner, '\\') < 0
}

// is reports whether a JSON string stands for a text. It allocates nothing for most strings.
func is(token []byte, text string) bool {
	inner, plain := quoted(token)
	if plain || inner == nil {
		return inner != nil && string(inner) == text
	}
	s, ok := Text(token)
	return ok && s == text
}

// isFolded does the same without regard to case.
func isFolded(token []byte, text string) bool {
	inner, plain := quoted(token)
	switch {
	case inner == nil || len(inner) < len(text) || plain && len(inner) > 3*len(text):
		return false // as most are, and need not be looked at; a letter folds to one of at most three bytes
	case plain:
		return strings.EqualFold(string(inner), text)
	}
	s, ok := Text(token)
	return ok && strings.EqualFold(s, text)
}

// Message is a message, sorted by what stands at its top level.
type Message struct {
	Kind     Kind
	IsDeep   bool            // nested deeper than encoding/json takes, so that it cannot be handled
	Doubtful bool            // as in Envelope; such a message is malformed
	Values   int             // as in Envelope
	ID       json.RawMessage // of a request, or of what looks like one; nil if there is none
	Method   string          // "" if there is none
	Line     []byte          // the message itself, without blanks or a byte order mark around it
}

// Kind says what a message is.
type Kind int

const (
	KindMalformed Kind = iota // no proper message; of what looks like a request it only shows when it is handled
	KindNothing               // blanks
	KindRequest
	KindNotification
	KindReply
)

// Message sorts a message by what has been written of it to e. It keeps line.
func (e *Envelope) Message(line []byte) Message {
	m := Message{Line: trim(line), IsDeep: e.IsDeep, Doubtful: e.Doubtful, Values: e.Values}
	var hasID, hasMethod bool
	m.ID, hasID = e.RequestID()
	m.Method, hasMethod = e.MethodName()
	switch {
	case len(m.Line) == 0:
		m.Kind = KindNothing
	case e.Doubtful:
		if e.IsReply && !hasMethod {
			m.ID = nil // it may be a reply, whose id is that of a request of ours
		}
	case e.IsObject && hasID && hasMethod:
		m.Kind = KindRequest
	case e.IsObject && !e.HasID() && hasMethod && (e.IsDeep || json.Valid(m.Line)):
		m.Kind = KindNotification
	case e.IsObject && e.IsReply && !hasMethod:
		m.Kind = KindReply
	}
	return m
}

// trim removes blanks around a message, and the byte order mark that some programs on Windows
// write before it.
func trim(line []byte) []byte {
	const blanks, mark = " \t\r\n", "\ufeff"
	return bytes.Trim(bytes.TrimPrefix(bytes.TrimLeft(line, blanks), []byte(mark)), blanks)
}
