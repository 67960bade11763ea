package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"

	"ollama-mcp/internal/caller"
)

const (
	// tokenMax is the longest id and method, in bytes, that a message may have.
	tokenMax = 256

	// depthMax is how many objects and arrays encoding/json takes inside each other.
	depthMax = 10_000
)

// envelope is what a JSON-RPC message says at its top level. It is written the
// message in pieces of any size and keeps almost nothing, so that a message too
// large to be kept can still be answered, wherever in it the id stands.
//
// It takes the message for JSON without checking: of anything else it may say
// anything.
type envelope struct {
	isObject bool
	isReply  bool   // has a result or an error, as only the answer to a request has
	isDeep   bool   // more than depthMax
	id       []byte // the JSON value of the last "id"; empty if there is none
	method   []byte // likewise

	depth   int // of the objects and arrays that are open
	quoted  bool
	escaped bool   // after a backslash in a string
	member  string // of the object, whose value is being read; "" before its colon
	token   []byte // the name or value being read, without blanks; cut after tokenMax
}

func (e *envelope) reset() {
	*e = envelope{id: e.id[:0], method: e.method[:0], token: e.token[:0]}
}

// Write never fails.
func (e *envelope) Write(p []byte) (int, error) {
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

func (e *envelope) step(b byte) {
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
			e.isObject = b == '{'
		}
		e.depth++
		e.isDeep = e.isDeep || e.depth > depthMax
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
		if e.depth == 1 {
			e.beginValue()
			return
		}
	case ',':
		if e.depth == 1 {
			e.endMember()
			return
		}
	}
	e.keep(b)
}

// keeps reports whether what is being read may matter, and is not too long to: the
// name of a member, or the value of one of ours.
func (e *envelope) keeps() bool {
	ours := e.depth == 1 && e.member == "" || e.member == "id" || e.member == "method"
	return ours && len(e.token) <= tokenMax
}

func (e *envelope) keep(b byte) {
	if e.keeps() {
		e.token = append(e.token, b)
	}
}

func (e *envelope) beginValue() {
	e.member = "other"
	switch name, _ := text(e.token); name {
	case "id", "method":
		e.member = name
	case "result", "error":
		e.isReply = true
	}
	e.token = e.token[:0]
}

func (e *envelope) endMember() {
	switch e.member {
	case "id":
		e.id = append(e.id[:0], e.token...)
	case "method":
		e.method = append(e.method[:0], e.token...)
	}
	e.member, e.token = "", e.token[:0]
}

// hasID reports whether there is an id. The id null counts as none.
func (e *envelope) hasID() bool {
	return len(e.id) > 0 && string(e.id) != "null"
}

// requestID is the id as it was sent, if it is one that a request may have: a
// string or a number. The caller keeps it.
func (e *envelope) requestID() (id json.RawMessage, ok bool) {
	if len(e.id) == 0 || len(e.id) > tokenMax || !json.Valid(e.id) {
		return nil, false
	}
	if b := e.id[0]; b != '"' && b != '-' && (b < '0' || b > '9') {
		return nil, false
	}
	return append(id, inUTF8(e.id)...), true
}

// inUTF8 is JSON in which each byte that is no UTF-8 has become U+FFFD: encoding/json
// takes such bytes, and an answer must not have them.
func inUTF8(text []byte) []byte {
	if utf8.Valid(text) {
		return text
	}
	return []byte(string([]rune(string(text))))
}

// methodName is the method, if there is one.
func (e *envelope) methodName() (name string, ok bool) {
	return text(e.method)
}

// text is what a JSON string stands for.
func text(token []byte) (s string, ok bool) {
	n := len(token)
	if n < 2 || n > tokenMax || token[0] != '"' || token[n-1] != '"' {
		return "", false
	}
	if s = string(token[1 : n-1]); !strings.ContainsRune(s, '\\') {
		return s, true
	}
	err := json.Unmarshal(token, &s)
	return s, err == nil
}

// incoming is a message from a client.
type incoming struct {
	from   caller.Caller
	header http.Header // those by which tools may log it; nil but for HTTP

	transport, remote string // as in Refusal

	held   int64 // bytes of room, given back when the message has been dealt with
	kind   kind
	isDeep bool            // more than encoding/json takes, and so it cannot be handled
	id     json.RawMessage // of a request, or of what looks like one; nil if there is none
	method string          // "" if there is none
	line   []byte          // the message, without blanks around it

	// What follows is set by split.

	brief     []byte          // the message, with null for the arguments of a tool
	arguments json.RawMessage // of a tool; nil where brief has them, or there are none
	values    any             // the arguments, as encoding/json reads them
}

// cancelled is the method of the notification that ends a request.
const cancelled = "notifications/cancelled"

type kind int

const (
	kindMalformed kind = iota // no proper message; of what looks like a request it only shows when it is handled
	kindNothing               // blanks
	kindRequest
	kindNotification
	kindReply
)

// message sorts a message by what has been written of it to e. It keeps line.
func (e *envelope) message(line []byte) incoming {
	m := incoming{line: bytes.Trim(line, " \t\r\n"), isDeep: e.isDeep}
	var hasID, hasMethod bool
	m.id, hasID = e.requestID()
	m.method, hasMethod = e.methodName()
	switch {
	case len(m.line) == 0:
		m.kind = kindNothing
	case e.isObject && hasID && hasMethod:
		m.kind = kindRequest
	case e.isObject && !e.hasID() && hasMethod && (e.isDeep || json.Valid(m.line)):
		m.kind = kindNotification
	case e.isObject && e.isReply && !hasMethod:
		m.kind = kindReply
	}
	return m
}
