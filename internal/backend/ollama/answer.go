package ollama

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
)

// chunk is one line of an answer, of /api/generate or of /api/chat. What it does not name may
// be there in any form.
type chunk struct {
	Error said `json:"error"`

	Response  remote.Text `json:"response"`
	Thinking  remote.Text `json:"thinking"`
	ToolCalls toolCalls   `json:"tool_calls"`
	Message   struct {
		Content   remote.Text `json:"content"`
		Thinking  remote.Text `json:"thinking"`
		ToolCalls toolCalls   `json:"tool_calls"`
	} `json:"message"`

	Done       mark              `json:"done"`
	DoneReason remote.Label      `json:"done_reason"`
	RemoteHost remote.Label      `json:"remote_host"`
	Logprobs   []backend.Logprob `json:"logprobs"`

	LoadDuration       remote.Number `json:"load_duration"` // like all durations in ns
	PromptEvalCount    remote.Number `json:"prompt_eval_count"`
	PromptEvalDuration remote.Number `json:"prompt_eval_duration"`
	EvalCount          remote.Number `json:"eval_count"`
	EvalDuration       remote.Number `json:"eval_duration"`

	known bool // there is a member that only answers have
}

// mark is a boolean by its meaning.
type mark bool

// UnmarshalJSON implements json.Unmarshaler.
func (m *mark) UnmarshalJSON(raw []byte) error {
	switch strings.ToLower(strings.Trim(string(raw), `"`)) {
	case "true", "1":
		*m = true
	default:
		*m = false
	}
	return nil
}

// toolCalls are the tool calls in a chunk. One that cannot be read is a failure of the model.
type toolCalls []backend.ToolCall

// UnmarshalJSON implements json.Unmarshaler.
func (c *toolCalls) UnmarshalJSON(raw []byte) error {
	var all remote.OneOrMore[json.RawMessage]
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	*c = make([]backend.ToolCall, len(all))
	for i, one := range all {
		if err := json.Unmarshal(one, &(*c)[i]); err != nil {
			return &backend.Error{Class: backend.BadOutput, Message: "a tool call of the model cannot be read: " + err.Error()}
		}
	}
	return nil
}

// said is an error of a host: a text, or JSON as other servers have it, which is kept as it
// came and has the text in it.
type said string

// UnmarshalJSON implements json.Unmarshaler.
func (s *said) UnmarshalJSON(raw []byte) error {
	var text string
	switch string(raw) {
	case "{}", "[]", "false", "0": // none, as null is
	default:
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
	}
	*s = said(text)
	return nil
}

// failure is the failure that a host names in an answer with status 200.
func (s said) failure() *backend.Error {
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

// afterTimeout limits how long a host may take, once it has said that its answer is done, to end
// the body. Ollama does so at once. Until then more may come, such as an error.
const afterTimeout = remote.DrainTimeout

// reading is the state of an answer that is being read.
type reading struct {
	*remote.Assembly
	lines  *remote.Lines
	events *remote.Events // read the rest of an answer of which a line was unusual; nil before
	chunk  chunk          // that is being read
	odd    bool           // JSON has come that is no part of an answer
	done   bool           // the host has said that the answer is done, and nothing of it has come since
}

// read reads an answer to its end. It is complete if the last of it is marked as done.
func read(a *remote.Assembly, lines *remote.Lines) error {
	return (&reading{Assembly: a, lines: lines}).read()
}

// readAny does the same as read, without the quick way for usual lines.
func readAny(a *remote.Assembly, lines *remote.Lines) error {
	return (&reading{Assembly: a, lines: lines, events: remote.NewEvents(lines, a.Hold)}).read()
}

func (r *reading) read() error {
	var limit *time.Timer
	for {
		before := r.Pieces()
		err := r.next()
		if limit != nil && r.Pieces() > before { // what only keeps the connection alive gets no more time
			limit.Stop()
			limit = nil
		}
		if limit == nil && r.done {
			limit = time.AfterFunc(afterTimeout, func() { r.lines.Close() })
			defer limit.Stop()
		}
		_, hasFailed := errors.AsType[*backend.Error](err)
		switch {
		case err == nil:
		case r.done && !hasFailed:
			return nil
		case err == io.EOF && r.Pieces() == 0 && (r.odd || r.events != nil && r.events.Odd()):
			return &backend.Error{Class: backend.Server, Message: "the answer is not in the format of Ollama's API"}
		default:
			return err
		}
	}
}

// next takes in a line in the form that Ollama writes, or else the events from there on: what
// stands between a host and us may have made them of lines.
func (r *reading) next() error {
	if r.events == nil {
		line, err := r.lines.Next()
		if err != nil || len(bytes.Trim(line, " \t\r\n")) == 0 { // the blanks of JSON
			return err
		}
		if r.chunk = (chunk{}); r.chunk.parse(line) {
			return r.take(len(line))
		}
		r.lines.Unread()
		r.events = remote.NewEvents(r.lines, r.Hold)
	}
	name, data, err := r.events.Next()
	if err != nil {
		return err
	}
	return remote.EachValue(data, func(part []byte, isJSON bool) error {
		switch {
		case remote.IsErrorName(name):
			return said(part).failure()
		case !isJSON || part[0] != '{':
			r.odd = r.odd || isJSON
			return nil
		}
		r.chunk = chunk{}
		if err := remote.Decode(part, &r.chunk); err != nil {
			return err
		}
		if r.Pieces() == 0 {
			var has struct{ Response, Message, Done json.RawMessage }
			_ = json.Unmarshal(part, &has) // it is an object
			r.chunk.known = len(has.Response)+len(has.Message)+len(has.Done) > 0
		}
		return r.take(len(part))
	})
}

// take adds the chunk, which is so many bytes long in JSON, to the answer.
func (r *reading) take(length int) error {
	c, got, before := &r.chunk, &r.Answer, r.Pieces()
	r.odd = r.odd || !c.known
	if c.Error != "" {
		return c.Error.failure()
	}
	got.Remote = cmp.Or(got.Remote, string(c.RemoteHost))
	calls := append(c.ToolCalls, c.Message.ToolCalls...)
	got.Logprobs = append(got.Logprobs, c.Logprobs...)
	if len(calls) > 0 || len(c.Logprobs) > 0 {
		if err := r.Hold(length); err != nil {
			return err
		}
	}
	if err := r.Add(c.Response+c.Message.Content, c.Thinking+c.Message.Thinking, calls...); err != nil {
		return err
	}
	if r.Pieces() > before { // what was said about the end before was not true
		r.done = false
	}
	if c.Done {
		r.done = true
		got.DoneReason = cmp.Or(backend.EndReason(c.DoneReason), got.DoneReason)
		got.PromptTokens, got.Tokens = max(got.PromptTokens, int(c.PromptEvalCount)), max(got.Tokens, int(c.EvalCount))
		got.Load = max(got.Load, time.Duration(c.LoadDuration))
		got.PromptEval, got.Eval = max(got.PromptEval, time.Duration(c.PromptEvalDuration)), max(got.Eval, time.Duration(c.EvalDuration))
	}
	return nil
}
