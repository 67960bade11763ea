package tools

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// This file is about calls that end before their answer is whole.

// missed is what there is for a call that gets no whole answer: as much of one as had
// come when its time was over, or the reason. source is where it was to come from.
func (f *fetching) missed(ctx context.Context, source cache.Source, err error) (*outcome, error) {
	if p, ok := errors.AsType[*cache.PanicError](err); ok {
		panic(fmt.Sprintf("%v\n%s", p.Value, p.Stack)) // as if it had happened here
	}
	if ctx.Err() == nil {
		return nil, explain(f.model, err)
	}
	a := f.last
	if a == nil {
		a = newAsking()
	}
	got, w := a.partial()
	got.clean()
	isOver := errors.Is(ctx.Err(), context.DeadlineExceeded)
	if isOver && f.wanted == nil && got.answer.Text != "" { // what there is beats nothing
		got.answer.DoneReason = doneTimeout
		if source == cache.Coalesced {
			got.served.Source = sourceShared
		}
		got.served.Total = time.Since(f.began).Milliseconds()
		return got, nil
	}
	e := cancelled(ctx)
	if isOver {
		e = f.tooLate(a, got.answer, w)
	}
	e.Partial = got.answer.Text
	if f.wantsThoughts() {
		e.Thinking = got.answer.Thinking
	}
	return nil, e
}

// tooLate says why a question had no answer, or no whole one, when its time was over.
func (f *fetching) tooLate(a *asking, come *backend.Answer, w work) *fault.Error {
	if w.host == nil {
		return f.notAsked(a)
	}
	e := &fault.Error{Code: fault.Timeout, Retryable: true, Hint: "allow more with timeout_seconds"}
	switch {
	case come.Text != "":
		e.Message = fmt.Sprintf("the time limit of %v was reached before the answer was whole", f.limit)
	case come.Tokens > 0:
		e.Message = fmt.Sprintf("the model was still thinking, after %d tokens, when the time limit of %v was reached", come.Tokens, f.limit)
		e.Hint = "set think to false, or to \"low\" for models that know that, or allow more with timeout_seconds"
	case f.finishLoading(w):
		e = f.isLoading()
	default:
		e.Message = fmt.Sprintf("%s had not begun to answer when the time limit of %v was reached", w.host.Name(), f.limit)
		e.Hint = "allow more with timeout_seconds; if it happens again, see with status whether the host is well"
	}
	e.Message = f.model + ": " + e.Message
	return e
}

// notAsked says why no host was at work on a question when its time was over.
func (f *fetching) notAsked(a *asking) *fault.Error {
	if f.warm.isLoading(backend.CanonicalModel(f.model)) {
		e := f.isLoading()
		e.Message = f.model + ": " + e.Message
		return e
	}
	held := a.held()
	if held == nil {
		return &fault.Error{
			Code: fault.Timeout, Message: fmt.Sprintf("the time limit of %v was reached before a host was asked", f.limit),
			Retryable: true, Hint: "allow more with timeout_seconds",
		}
	}
	e := explain(f.model, held)
	if e.Code != fault.QueueTimeout {
		e.Message = fmt.Sprintf("%s: the time limit of %v was reached; %s", f.model, f.limit, e.Message)
	}
	return e
}

// isLoading is the error of a call that has waited for its model in vain.
func (f *fetching) isLoading() *fault.Error {
	return &fault.Error{
		Code: fault.Timeout, Message: fmt.Sprintf("the time limit of %v was reached before there was an answer", f.limit), Retryable: true,
		Hint: "as far as is known the model was not in memory; it is being loaded on, so call again in a minute",
	}
}

// explainEmbed says why texts were not embedded, or not all.
func (d Deps) explainEmbed(ctx context.Context, e *embedding, err error) error {
	long, ok := errors.AsType[*pool.QueueTimeoutError](err)
	queued := ok && (e.waited || long.RetryAfter > 0)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return cancelled(ctx)
	case ctx.Err() == nil || queued:
		failed := d.explainAnswer(ctx, miss{rung: route.Rung{Model: string(e.in.Model)}, got: &outcome{}, why: err})
		if failed.Code == fault.ModelNotFound && d.settings().isAlias(string(e.in.Model)) {
			failed.Hint = "it is an alias, which embed does not know, since the vectors of two models do not compare; name the model itself"
		}
		return failed
	}
	late := &fault.Error{
		Code: fault.Timeout, Retryable: true, Hint: "allow more with timeout_seconds, or embed fewer texts in a call",
		Message: fmt.Sprintf("%s: %d of %d texts were embedded when the time limit of %v was reached",
			e.in.Model, e.done(), len(e.in.Input), e.in.timeout(d.Timeout)),
	}
	if e.keys != nil && len(e.in.Input) > 1 {
		late.Hint += "; the same call goes on from there, since vectors are kept"
	}
	return late
}

// cancelled is the error of a call that was ended, by its client or by the server.
func cancelled(ctx context.Context) *fault.Error {
	e := fault.Of(context.Canceled)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		e.Message += ": " + cause.Error()
		e.Hint, e.Retryable = "call again when the server is back", true
	}
	return e
}
