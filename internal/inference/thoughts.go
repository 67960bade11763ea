package inference

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/markup"
	"ollama-mcp/pool"
)

// This file is about thoughts: those of a model that thinks until the time of its request is over,
// which is seen while there is still time for an answer without them, or by another model; and
// those that a host has left in the text of an answer.

// thinkingShare is the part of the time, from the first thought to the deadline, after which
// a model that has not begun its answer is stopped.
const thinkingShare = 2.0 / 3

// errThinking ends a request to a model that does nothing but think.
var errThinking = errors.New("it does nothing but think")

// thoughtTooLong is why a model was stopped that was thinking when most of the time was over.
type thoughtTooLong struct{ tokens int }

func (e *thoughtTooLong) Error() string {
	return fmt.Sprintf("still thinking after %s, when most of the time was over", fault.Count(e.tokens, "token"))
}

// note tells the caller that the model was asked again.
func (e *thoughtTooLong) note() string {
	return fmt.Sprintf("The model was still thinking after %s, when most of the time was over, so it was asked again and told not to think.", fault.Count(e.tokens, "token"))
}

// Fault implements fault.Explainer.
func (e *thoughtTooLong) Fault() *fault.Error {
	return &fault.Error{
		Code: fault.Timeout, Message: e.Error(),
		Hint: "set think to false, or to \"low\" for models that know that, or allow more with timeout_seconds",
	}
}

// thinking watches one request to a host for thoughts without end.
type thinking struct {
	deadline func() time.Time
	lease    *pool.Lease
	began    time.Time // of the first thought; the zero Time before
	tokens   int
	stopped  bool
	task     *task
	inText   markup.Follower // of thoughts that the host has left in the text
}

// watchThinking watches a request that is to end when the model thinks for too long. It returns nil
// if nothing can be done about that: the model may be told not to think, or another may be tried.
func (c *climb) watchThinking(a *attempt) *thinking {
	if !c.mayStopThinking(a) {
		return nil
	}
	return &thinking{deadline: c.deadline, lease: a.lease, task: c.task}
}

// mayStopThinking reports whether something else can be tried while a model thinks. A caller
// who has asked for thoughts gets them, unless another model may answer.
func (c *climb) mayStopThinking(a *attempt) bool { return a.params.think == nil || a.others > 0 }

// add takes in a piece of the answer.
func (t *thinking) add(piece backend.Piece) {
	if t == nil {
		return
	}
	switch {
	case piece.TextSoFar == "" && piece.ThinkingSoFar == "":
		return
	case piece.TextSoFar != "" && (t.task.Raw || !t.inText.Add(t.task.markup(), piece.Text, piece.TextSoFar)):
		return
	}
	now := time.Now()
	if t.tokens++; t.began.IsZero() {
		t.began = now
	}
	if end := t.deadline(); !end.IsZero() && now.Sub(t.began) > time.Duration(thinkingShare*float64(end.Sub(t.began))) {
		t.stopped = true
		t.lease.Interrupt(errThinking)
	}
}

// end returns why the request has ended if the model thought for too long; nil if not.
func (t *thinking) end() error {
	if t == nil || !t.stopped {
		return nil
	}
	return &thoughtTooLong{t.tokens}
}

// findFormat makes the part of an answer its text that fits the format of the request, if the
// whole does not.
func (t *task) findFormat(a *backend.Answer) {
	if t.format == nil || len(a.ToolCalls) > 0 {
		return
	}
	if _, err := t.format.parse(a.Text); err == nil {
		return
	}
	if text, ok := markup.FindJSON(a.Text, t.fits); ok {
		a.Text = text
		return
	}
	// The opening tag may have been a part of the prompt.
	if thoughts, text, ok := markup.CutLast(a.Text); ok {
		if text, ok = markup.FindJSON(text, t.fits); ok {
			a.Thinking, a.Text = a.Thinking+thoughts, text
		}
	}
}

// fits reports whether a text fits the format of the request.
func (t *task) fits(text string) bool {
	_, err := t.format.parse(text)
	return err == nil
}

// separateThoughts moves the thoughts and calls in the text of an answer to where they belong.
// What the callers of raw prompts get is what the model writes.
func (t *task) separateThoughts(a *backend.Answer) {
	isCut := a.DoneReason == "" || a.DoneReason.End() == backend.EndCut
	if t.Raw {
		return
	}
	if got, ok := t.markup().Separate(a.Text, isCut); ok {
		a.Text, a.Thinking = got.Text, a.Thinking+got.Thinking
		a.ToolCalls = append(a.ToolCalls, got.Calls...)
	}
}

// markup is what the markup of an answer depends on.
func (t *task) markup() markup.Request { return markup.Request{Mentions: t.mentions, Offers: t.offers} }

// mentions reports whether a tag is in the request.
func (t *task) mentions(tag string) bool {
	return markup.IndexFold(t.Prompt, tag) >= 0 || markup.IndexFold(t.System, tag) >= 0 || slices.ContainsFunc(t.Messages, func(m backend.Message) bool {
		return m.Role != "assistant" && markup.IndexFold(m.Content, tag) >= 0
	})
}

// offers reports whether the request offers a tool of that name.
func (t *task) offers(name string) bool {
	return slices.ContainsFunc(t.Tools, func(tool backend.Tool) bool {
		var described struct{ Function struct{ Name string } }
		return json.Unmarshal(tool.RawMessage, &described) == nil && described.Function.Name == name
	})
}
