package remote

import (
	"strings"
	"time"

	"ollama-mcp/internal/backend"
)

// Assembly puts a streamed answer together.
type Assembly struct {
	// Answer is the answer to return. The Assembly fills in text, thinking and the times
	// that are measured here; the rest is for the function that reads the answer.
	Answer backend.Answer

	began   time.Time
	onPiece func(backend.Piece)
	text    strings.Builder
	think   strings.Builder
	joined  struct{ text, think joiner }
	pieces  int
	account account
}

// Assemble begins an answer whose request is sent next. onPiece may be nil.
func Assemble(onPiece func(backend.Piece)) *Assembly {
	return &Assembly{onPiece: onPiece, began: time.Now()}
}

// Add adds the content of one piece: text, thinking, tool calls, or several of them. A
// character of which a piece has the beginning alone is added with the piece that ends it. It
// fails with class backend.TooLarge if there is no memory for it.
func (a *Assembly) Add(text, thinking Text, calls ...backend.ToolCall) error {
	if text == "" && thinking == "" && len(calls) == 0 {
		return nil
	}
	a.Arrived()
	return a.add(a.joined.text.join(string(text)), a.joined.think.join(string(thinking)), calls...)
}

func (a *Assembly) add(text, thinking string, calls ...backend.ToolCall) error {
	a.Answer.ToolCalls = append(a.Answer.ToolCalls, calls...)
	if err := a.write(&a.text, text); err != nil {
		return err
	}
	if err := a.write(&a.think, thinking); err != nil {
		return err
	}
	if a.onPiece != nil && (text != "" || thinking != "") {
		a.onPiece(backend.Piece{
			Text: text, Thinking: thinking,
			TextSoFar: a.text.String(), ThinkingSoFar: a.think.String(),
		})
	}
	return nil
}

// write appends s. The only copy of the text is the one in b.
func (a *Assembly) write(b *strings.Builder, s string) error {
	if len(s) > b.Cap()-b.Len() {
		more := max(len(s), 64)
		if err := a.Hold(b.Cap() + more); err != nil { // by which Grow makes it longer
			return err
		}
		b.Grow(more)
	}
	b.WriteString(s)
	return nil
}

// Hold takes memory for a part of the answer other than its text, such as tool calls.
// It fails with class backend.TooLarge if there is none.
func (a *Assembly) Hold(bytes int) error { return a.account.hold(bytes) }

// Arrived counts a piece of which there is nothing to add yet, such as a part of a tool
// call.
func (a *Assembly) Arrived() {
	if a.Answer.FirstPiece == 0 {
		a.Answer.FirstPiece = time.Since(a.began)
	}
	a.pieces++
}

// Thinking is what has arrived of the model's thoughts.
func (a *Assembly) Thinking() string { return a.think.String() }

// Pieces is how many pieces have arrived.
func (a *Assembly) Pieces() int { return a.pieces }

// Result is the answer so far; nil if nothing came and it is not complete. It is a copy: an
// answer that is cached must not keep the Assembly in memory, and with it the request.
func (a *Assembly) Result(complete bool) *backend.Answer {
	_ = a.add(a.joined.text.end(), a.joined.think.end()) // a few bytes at most
	got := new(a.Answer)
	got.Text, got.Thinking = clip(&a.text), clip(&a.think)
	got.Total = time.Since(a.began)
	switch {
	case !complete && a.pieces == 0:
		return nil
	case !complete:
		// Most hosts report the number of tokens only at the end. A piece is about a token.
		got.DoneReason, got.Tokens, got.Eval = "", max(got.Tokens, a.pieces), 0
	}
	if got.Eval == 0 && a.pieces > 0 {
		got.Eval = got.Total - got.FirstPiece
	}
	return got
}

// clip is the text in b, without the memory that its growth left unused: an answer may
// be kept for long.
func clip(b *strings.Builder) string {
	if b.Cap()-b.Len() > b.Len()/4 {
		return strings.Clone(b.String())
	}
	return b.String()
}
