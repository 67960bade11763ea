package openai

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/remote"
)

// countTimeout limits how long a server may take, once it has said why its answer ends, to
// send its count of tokens, which budgets go by, and the end mark. Nearly all send both at
// once.
const countTimeout = 10 * time.Second

// reading is the state of an answer that is being read.
type reading struct {
	*remote.Assembly
	mayBeEmpty bool // the request names texts that end the answer, and that it does not hold

	strange bool // JSON has come that is no part of an answer
	begun   bool
	index   remote.Number // of the choice that is read, which is the first to begin
	finish  string        // why the model stopped; empty until the server says so, and again once more comes
	whole   bool          // the answer came in one piece, as one that is not streamed does
	done    bool          // the end mark has been read
	said    string        // a message that may be an error; empty for none
	other   string        // another API in whose form JSON has come; empty for none

	calls    []*call
	thoughts string // the member that thoughts came in; empty for none
}

// read reads an answer to its end, which is [DONE], or the end of the body after a
// finish_reason or after an answer that is not streamed. Any other answer was cut off.
func (r *reading) read(a *remote.Assembly, lines *remote.Lines) error {
	r.Assembly = a
	in := remote.NewEvents(lines, a.Hold)
	var limit *time.Timer
	for !r.done {
		name, data, err := in.Next()
		switch {
		case err == io.EOF && r.Pieces() == 0 && r.said == "" && !r.begun && (in.Odd() || r.strange || r.other != ""):
			if r.other != "" {
				return &backend.Error{Class: backend.Server, Err: backend.ErrOtherAPI, Message: "the answer is in the format of " + r.other + ", and not of OpenAI's API"}
			}
			return &backend.Error{Class: backend.Server, Message: "the answer is not in the format of OpenAI's API"}
		case err != nil && r.finish == "" && !(err == io.EOF && r.whole):
			return r.unfinished(err)
		case err != nil:
			return r.end()
		}
		before := r.Pieces()
		if err := r.event(name, data); err != nil {
			return err
		}
		if limit != nil && r.Pieces() > before { // what only keeps the connection alive gets no more time
			limit.Stop()
			limit = nil
		}
		if limit == nil && r.finish != "" {
			limit = time.AfterFunc(countTimeout, func() { lines.Close() })
			defer limit.Stop()
		}
	}
	if r.finish == "" && (r.Pieces() == 0 || r.said != "") {
		return r.unfinished(io.EOF)
	}
	return r.end()
}

// unfinished is the error of an answer that the server has not ended: what it said that may
// be one, or else what the body ended with.
func (r *reading) unfinished(err error) error {
	if r.said != "" {
		return &backend.Error{Class: backend.Server, Message: r.said}
	}
	return err
}

// event takes in the data of an event, which is a JSON value; several where nothing
// separates events; or the end mark. Anything else keeps the connection alive.
func (r *reading) event(name string, data []byte) error {
	isError := remote.IsErrorName(name)
	return remote.EachValue(data, func(part []byte, isJSON bool) error {
		switch {
		case r.done:
			return nil
		case remote.IsDone(part):
			r.done = true
			return nil
		case isJSON:
			return r.value(part, isError)
		case isError:
			return streamError(part)
		case mayBeError(part):
			r.said = string(part)
		}
		return nil
	})
}

// mayBeError reports whether data that is no JSON may be an error, and does not just keep the
// connection alive.
func mayBeError(data []byte) bool {
	return bytes.Contains(bytes.ToLower(data), []byte("error")) || bytes.Contains(bytes.ToLower(data), []byte("exception"))
}

// value takes in a JSON value, which is a chunk of the answer, an error, or a list of them.
func (r *reading) value(data []byte, isError bool) error {
	if data[0] == '[' && !isError {
		var all []json.RawMessage
		if err := remote.Decode(data, &all); err != nil {
			return err
		}
		for _, one := range all {
			if len(one) > 0 && one[0] == '{' {
				if err := r.value(one, false); err != nil {
					return err
				}
			}
		}
		return nil
	}
	var c chunk
	if err := remote.Decode(data, &c); err != nil {
		return err
	}
	if isError || !isNothing(c.Error) || len(c.Choices) == 0 {
		if err := r.failed(data, isError); err != nil {
			return err
		}
	}
	r.strange = r.strange || len(c.Choices) == 0 && c.Usage == usage{}
	if len(c.Choices) == 0 {
		r.other = cmp.Or(r.other, otherAPI(data))
	}
	r.count(c.Usage)
	for i := range c.Choices {
		choice := &c.Choices[i]
		if !r.begun {
			r.begun, r.index = true, choice.Index
		}
		if choice.Index != r.index { // only one answer was requested
			continue
		}
		if !isNothing(choice.Error) {
			if err := r.failed(choice.Error, true); err != nil {
				return err
			}
		}
		r.count(choice.Usage)
		if err := r.choice(choice, len(data)); err != nil {
			return err
		}
	}
	return nil
}

// otherAPI is whose API has answers in the form of a JSON value without choices; "" if it is not
// known.
func otherAPI(data []byte) string {
	var v struct {
		Done, Message, Response, Candidates json.RawMessage
		StopReason                          json.RawMessage `json:"stop_reason"`
		Type, Object                        remote.Label
	}
	if remote.Decode(data, &v) != nil {
		return ""
	}
	switch {
	case v.Done != nil && (v.Message != nil || v.Response != nil):
		return "Ollama's own API"
	case v.Type == "message" && v.StopReason != nil, strings.HasPrefix(string(v.Type), "message_"), strings.HasPrefix(string(v.Type), "content_block"):
		return "Anthropic's API"
	case v.Candidates != nil:
		return "Google's own API"
	case v.Object == "response" || strings.HasPrefix(string(v.Type), "response."):
		return "OpenAI's Responses API"
	}
	return ""
}

// failed returns the error that a JSON value is, if it is one. One that may be an error is
// kept, for the case that the answer does not end well.
func (r *reading) failed(data []byte, certain bool) error {
	e, ok := parse(data)
	if certain || e.certain {
		return streamError(data)
	}
	if ok {
		r.said = e.message
	}
	return nil
}

// count takes in counts of tokens. They only grow, and some servers send zeros at first.
func (r *reading) count(u usage) {
	got := &r.Answer
	got.PromptTokens = max(got.PromptTokens, int(u.PromptTokens), int(u.InputTokens))
	got.Tokens = max(got.Tokens, int(u.CompletionTokens), int(u.OutputTokens))
}

// choice takes in a part of the answer, from an event of so many bytes.
func (r *reading) choice(c *choice, length int) error {
	before := r.Pieces()
	m := c.Delta
	if c.Message != nil && (m == nil || before == 0 && m.isEmpty()) {
		m, r.whole = c.Message, true
	}
	if m == nil {
		m = new(delta)
	}
	name, thoughts := m.thoughts()
	if thoughts != "" && r.thoughts == "" {
		r.thoughts = name
	}
	if len(c.Logprobs) > 0 {
		if err := r.Hold(length); err != nil {
			return err
		}
		r.Answer.Logprobs = append(r.Answer.Logprobs, c.Logprobs...)
	}
	if err := r.Add(c.Text.text+m.Content.text+m.Refusal.text, thoughts); err != nil {
		return err
	}
	fragments := m.fragments()
	for i := range fragments {
		r.Arrived()
		if err := r.Hold(length); err != nil {
			return err
		}
		r.calls = fragments[i].addTo(r.calls, i, len(fragments))
	}
	if r.Pieces() > before { // what was said about the end before was not true
		r.finish = ""
	}
	switch reason := strings.TrimSpace(string(c.FinishReason)); strings.ToLower(reason) {
	case "", "null", "none": // as some servers write null
	default:
		r.finish = reason
	}
	return nil
}

// end completes the answer.
func (r *reading) end() error {
	got := &r.Answer
	reason := backend.EndReason(r.finish)
	end := reason.End()
	if written := got.Tokens; written > 1 && r.Pieces() == 0 && (end == backend.EndWhole && !r.mayBeEmpty || end == backend.EndCalls) { // one is that of the end
		return &backend.Error{Class: backend.Server, Message: fmt.Sprintf("the answer is empty, though %d tokens were written", written)}
	}
	if end == backend.EndCalls && len(r.calls) > 0 {
		reason = "stop" // as Ollama says
	}
	got.DoneReason = cmp.Or(reason, backend.NoReason)
	if got.Tokens == 0 {
		got.Tokens = r.Pieces()
	}
	for _, c := range r.calls {
		complete, err := c.complete()
		switch {
		case err == nil:
			got.ToolCalls = append(got.ToolCalls, complete)
		case end != backend.EndCut && end != backend.EndFiltered: // of those the last call is cut
			return err
		}
	}
	r.keepThoughts()
	return nil
}

// keepThoughts puts the thoughts that led to calls of tools into the first call, under the
// name that the server gave them: some servers want them back with the results.
func (r *reading) keepThoughts() {
	if r.thoughts == "" || len(r.Answer.ToolCalls) == 0 {
		return
	}
	first := &r.Answer.ToolCalls[0]
	if first.Rest == nil {
		first.Rest = backend.Members{}
	}
	first.Rest[r.thoughts] = quoted(r.Assembly.Thinking())
}
