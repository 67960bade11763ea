package gateway

import (
	"bytes"
	"time"

	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/schema"
)

// This file writes most pieces of a stream, which have text and nothing else, without the reflection
// of encoding/json, which takes nine times as long and allocates.

// form is the JSON of pieces of text of one stream, cut where a piece has its time and its text. The
// zero form has not been learned yet.
type form struct {
	before  []byte // the time, or else the text
	between []byte // the time and the text
	after   []byte // the text
	isTimed bool
}

// markTime and markText stand in the piece from which a form is learned. Nothing behind them comes
// from outside, so the last of each in the piece is the one.
var (
	markTime = time.Date(1, 2, 3, 4, 5, 6, 7, time.UTC)
	markText = "\x01"
)

// learn takes the form of a piece that is like those to come, but has markTime and markText.
func (f *form) learn(piece any) {
	head, after := cutLast(schema.MustMarshal(piece), schema.MustMarshal(markText))
	before, between := cutLast(head, schema.MustMarshal(markTime))
	*f = form{before: before, between: between, after: after, isTimed: between != nil}
}

// cutLast cuts a text at the last mark in it. Without one, all of it is before.
func cutLast(text, mark []byte) (before, after []byte) {
	at := bytes.LastIndex(text, mark)
	if at < 0 {
		return text, nil
	}
	return text[:at], text[at+len(mark):]
}

// append appends the JSON of a piece of text.
func (f *form) append(to []byte, text string) []byte {
	to = append(to, f.before...)
	if f.isTimed {
		to = append(now().AppendFormat(append(to, '"'), time.RFC3339Nano), '"')
		to = append(to, f.between...)
	}
	return append(appendText(to, text), f.after...)
}

// appendText appends a text as encoding/json writes it.
func appendText(to []byte, text string) []byte {
	for i := range len(text) {
		if b := text[i]; b < ' ' || b > '~' || b == '"' || b == '\\' || b == '<' || b == '>' || b == '&' {
			return append(to, schema.MustMarshal(text)...)
		}
	}
	to = append(append(to, '"'), text...)
	return append(to, '"')
}

// isText reports whether a piece has text and nothing else.
func isText(p inference.Piece) bool {
	return p.Text != "" && p.Thinking == "" && len(p.ToolCalls)+len(p.Logprobs) == 0 && !p.Again
}
