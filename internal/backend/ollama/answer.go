package ollama

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
)

// chunk is one line of an answer, of /api/generate or of /api/chat.
type chunk struct {
	Error said `json:"error"`

	Response  string             `json:"response"`
	Thinking  string             `json:"thinking"`
	ToolCalls []backend.ToolCall `json:"tool_calls"`
	Message   struct {
		Content   string             `json:"content"`
		Thinking  string             `json:"thinking"`
		ToolCalls []backend.ToolCall `json:"tool_calls"`
	} `json:"message"`

	Done       bool              `json:"done"`
	DoneReason backend.EndReason `json:"done_reason"`
	RemoteHost string            `json:"remote_host"`
	Logprobs   []backend.Logprob `json:"logprobs"`
	api.Metrics
}

// said is an error of a host: a text, or JSON as other servers have it, which is kept as it
// came and has the text in it.
type said string

// UnmarshalJSON implements json.Unmarshaler.
func (s *said) UnmarshalJSON(raw []byte) error {
	var text string
	switch {
	case json.Unmarshal(raw, &text) == nil: // null is none
	default:
		text = string(raw)
	}
	*s = said(text)
	return nil
}

// err is the failure that a host names in an answer with status 200; nil for none.
func (s said) err() *backend.Error {
	if s == "" {
		return nil
	}
	class := classify(http.StatusInternalServerError, string(s))
	e := &backend.Error{Class: class, Message: backend.Plain(string(s))}
	e.Prompt, e.Context = backend.ContextSizes(string(s))
	e.RetryAfter = backend.RestTime(class, string(s))
	return e
}

// answer sends a request and assembles the streamed answer.
func (h *Host) answer(ctx context.Context, path string, in any, onPiece func(backend.Piece)) (*backend.Answer, error) {
	return h.conn.Stream(ctx, path, "application/x-ndjson", in, remote.Assemble(onPiece), read)
}

// read reads the lines of an answer up to the one with done: true.
func read(a *remote.Assembly, lines *remote.Lines) error {
	var c chunk
	for !c.Done {
		line, err := lines.Next()
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		c = chunk{}
		if !c.parse(line) {
			lines.Unread()
			return readAny(a, lines)
		}
		if err := c.addTo(a, len(line)); err != nil {
			return err
		}
	}
	return nil
}

// readAny does the same as read, for lines in any form of JSON.
func readAny(a *remote.Assembly, lines *remote.Lines) error {
	limited := lineLimiter{r: lines, hold: a.Hold}
	dec := json.NewDecoder(&limited)
	var c chunk
	for !c.Done {
		limited.next(lines.Max())
		c = chunk{}
		before := dec.InputOffset()
		if err := dec.Decode(&c); err != nil {
			return err
		}
		if err := c.addTo(a, int(dec.InputOffset()-before)); err != nil {
			return err
		}
	}
	return nil
}

// addTo adds a chunk, which is so many bytes long in JSON, to the answer.
func (c *chunk) addTo(a *remote.Assembly, length int) error {
	if e := c.Error.err(); e != nil {
		return e
	}
	a.Answer.Remote = cmp.Or(a.Answer.Remote, c.RemoteHost)
	calls := append(c.ToolCalls, c.Message.ToolCalls...)
	a.Answer.Logprobs = append(a.Answer.Logprobs, c.Logprobs...)
	if len(calls) > 0 || len(c.Logprobs) > 0 {
		if err := a.Hold(length); err != nil {
			return err
		}
	}
	if c.Done {
		got := &a.Answer
		got.DoneReason = c.DoneReason
		got.PromptTokens, got.Tokens = c.PromptEvalCount, c.EvalCount
		got.Load, got.PromptEval, got.Eval = c.LoadDuration, c.PromptEvalDuration, c.EvalDuration
	}
	return a.Add(c.Response+c.Message.Content, c.Thinking+c.Message.Thinking, calls...)
}
