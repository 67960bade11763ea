package remote

import (
	"strings"
	"time"

	"ollama-mcp/internal/backend"
)

// Assembly is an answer on its way.
type Assembly struct {
	// Answer is what will be returned. Text, thoughts and times seen from here are
	// put in by Result; the rest is for whoever reads the answer.
	Answer backend.Answer

	began   time.Time
	onPiece func(backend.Piece)
	text    strings.Builder
	think   strings.Builder
	pieces  int
}

// Assemble begins an answer, whose request is sent next. onPiece may be nil.
func Assemble(onPiece func(backend.Piece)) *Assembly {
	return &Assembly{onPiece: onPiece, began: time.Now()}
}

// Add adds what came in one piece: text or thoughts, tool calls, or all.
func (a *Assembly) Add(p backend.Piece, calls ...backend.ToolCall) {
	if p == (backend.Piece{}) && len(calls) == 0 {
		return
	}
	a.Arrived()
	a.text.WriteString(p.Text)
	a.think.WriteString(p.Thinking)
	a.Answer.ToolCalls = append(a.Answer.ToolCalls, calls...)
	if a.onPiece != nil && p != (backend.Piece{}) {
		a.onPiece(p)
	}
}

// Arrived notes a piece that there is nothing to add of yet, such as a part of a
// tool call.
func (a *Assembly) Arrived() {
	if a.Answer.FirstPiece == 0 {
		a.Answer.FirstPiece = time.Since(a.began)
	}
	a.pieces++
}

// Pieces is how many pieces came.
func (a *Assembly) Pieces() int { return a.pieces }

// Result is the answer so far; nil if nothing came and it is not complete.
func (a *Assembly) Result(complete bool) *backend.Answer {
	got := &a.Answer
	got.Text, got.Thinking = a.text.String(), a.think.String()
	got.Total = time.Since(a.began)
	switch {
	case !complete && a.pieces == 0:
		return nil
	case !complete:
		// The host would have counted at the end. A piece is a token, or nearly so.
		got.DoneReason, got.Tokens, got.Eval = "", a.pieces, 0
	}
	if got.Eval == 0 && a.pieces > 0 {
		got.Eval = got.Total - got.FirstPiece
	}
	return got
}
