package inference

import (
	"errors"
	"fmt"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/markup"
	"ollama-mcp/pool"
)

// This file is about models that think until the time of their request is over. That is seen
// while they do, when there is still time for an answer without thoughts, or by another model.

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
