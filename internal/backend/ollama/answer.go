package ollama

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
)

// chunk is one line of an answer, of /api/generate or of /api/chat.
type chunk struct {
	Error string `json:"error"`

	Response  string         `json:"response"`
	Thinking  string         `json:"thinking"`
	ToolCalls []api.ToolCall `json:"tool_calls"`
	Message   struct {
		Content   string         `json:"content"`
		Thinking  string         `json:"thinking"`
		ToolCalls []api.ToolCall `json:"tool_calls"`
	} `json:"message"`

	Done       bool   `json:"done"`
	DoneReason string `json:"done_reason"`
	api.Metrics
}

// hostError is what a host said in the place of a chunk.
type hostError string

func (e hostError) Error() string { return string(e) }

// answer puts a streamed answer together.
func (h *Host) answer(ctx context.Context, path string, in any, onPiece func(backend.Piece)) (*backend.Answer, error) {
	a := assembly{onPiece: onPiece, began: time.Now()}
	var c chunk
	err := h.stream(ctx, path, in, func(dec *json.Decoder) (last bool, err error) {
		c = chunk{}
		if err := dec.Decode(&c); err != nil {
			return false, err
		}
		if c.Error != "" {
			return false, hostError(c.Error)
		}
		a.add(&c)
		return c.Done, nil
	})
	return a.result(err == nil), err
}

// assembly is an answer on its way.
type assembly struct {
	began   time.Time
	onPiece func(backend.Piece)
	text    strings.Builder
	think   strings.Builder
	pieces  int
	got     backend.Answer
}

func (a *assembly) add(c *chunk) {
	p := backend.Piece{Text: c.Response + c.Message.Content, Thinking: c.Thinking + c.Message.Thinking}
	calls := append(c.ToolCalls, c.Message.ToolCalls...)
	if p != (backend.Piece{}) || len(calls) > 0 {
		if a.got.FirstPiece == 0 {
			a.got.FirstPiece = time.Since(a.began)
		}
		a.pieces++
		a.text.WriteString(p.Text)
		a.think.WriteString(p.Thinking)
		a.got.ToolCalls = append(a.got.ToolCalls, calls...)
	}
	if c.Done {
		a.got.DoneReason = c.DoneReason
		a.got.PromptTokens, a.got.Tokens = c.PromptEvalCount, c.EvalCount
		a.got.Load, a.got.PromptEval, a.got.Eval = c.LoadDuration, c.PromptEvalDuration, c.EvalDuration
	}
	if a.onPiece != nil && p != (backend.Piece{}) {
		a.onPiece(p)
	}
}

// result is the answer so far; nil if nothing came and it is not complete.
func (a *assembly) result(complete bool) *backend.Answer {
	a.got.Text, a.got.Thinking = a.text.String(), a.think.String()
	a.got.Total = time.Since(a.began)
	if complete {
		return &a.got
	}
	if a.pieces == 0 {
		return nil
	}
	// The host would have counted at the end. A piece is a token, or nearly so.
	a.got.Tokens, a.got.Eval = a.pieces, a.got.Total-a.got.FirstPiece
	return &a.got
}
