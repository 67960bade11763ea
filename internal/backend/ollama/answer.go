package ollama

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
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

// answer puts a streamed answer together.
func (h *Host) answer(ctx context.Context, path string, in any, onPiece func(backend.Piece)) (*backend.Answer, error) {
	a := remote.Assemble(onPiece)
	err := h.conn.Stream(ctx, path, "application/x-ndjson", in, func(body io.ReadCloser) (pieces int, err error) {
		return read(a, body, h.conn.MaxLine())
	})
	return a.Result(err == nil), err
}

// read reads lines up to the one that says that it is the last.
func read(a *remote.Assembly, body io.Reader, maxLine int) (lines int, err error) {
	limited := lineLimiter{r: body}
	dec := json.NewDecoder(&limited)
	var c chunk
	for ; !c.Done; lines++ {
		limited.left = maxLine
		c = chunk{}
		if err := dec.Decode(&c); err != nil {
			return lines, err
		}
		if c.Error != "" {
			return lines, &backend.Error{Class: classify(http.StatusInternalServerError, c.Error), Message: c.Error}
		}
		a.Add(backend.Piece{Text: c.Response + c.Message.Content, Thinking: c.Thinking + c.Message.Thinking},
			append(c.ToolCalls, c.Message.ToolCalls...)...)
	}
	got := &a.Answer
	got.DoneReason = c.DoneReason
	got.PromptTokens, got.Tokens = c.PromptEvalCount, c.EvalCount
	got.Load, got.PromptEval, got.Eval = c.LoadDuration, c.PromptEvalDuration, c.EvalDuration
	return lines, nil
}
