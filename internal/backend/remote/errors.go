package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

// transportError explains an error of the transport: the request got no answer.
func (c *Client) transportError(ctx context.Context, err error) error {
	if gone := c.callerError(ctx); gone != nil {
		return gone
	}
	return &backend.Error{Host: c.name, Class: backend.Transport, Message: transportWords(err), Err: cause(err)}
}

// answerError explains an answer with status 200 that failed after some pieces.
func (c *Client) answerError(ctx context.Context, err error, pieces int) error {
	if gone := c.callerError(ctx); gone != nil {
		return gone
	}
	if said, ok := errors.AsType[*backend.Error](err); ok {
		said.RetryAfter = cmp.Or(said.RetryAfter, backend.RestTime(said.Class, said.Message))
		said.Host, said.Message = c.name, c.OneLine(said.Message)
		return said
	}
	e := &backend.Error{Host: c.name, Class: backend.Server, Err: cause(err)}
	_, isHuge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == ErrLongLine:
		e.Message = fmt.Sprintf("a line of the answer is longer than %d bytes", c.maxLine)
	case isHuge:
		e.Class, e.Message = backend.TooLarge, fmt.Sprintf("it is longer than %s", size(maxAnswer))
	case notJSON(err):
		e.Message = "the answer is not in the format of " + c.api + "'s API"
	case err == io.EOF && pieces == 0:
		e.Message = "the answer is empty"
	case err == io.EOF:
		e.Message = fmt.Sprintf("the answer ended after %s without being done", fault.Count(pieces, "piece"))
	case pieces == 0:
		e.Message = "the answer could not be read"
	default:
		e.Message = "the answer was cut after " + fault.Count(pieces, "piece")
	}
	return e
}

// refusal explains an answer with a status other than 200.
func (c *Client) refusal(ctx context.Context, resp *http.Response) error {
	timer := time.AfterFunc(DrainTimeout, func() { resp.Body.Close() })
	defer timer.Stop()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // a part of it is enough
	if gone := c.callerError(ctx); gone != nil {
		return gone
	}
	e := &backend.Error{Host: c.name, Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		e.Class, e.Message = backend.Server, "answered with a redirect, which is not followed"
		return e
	}
	class, message := c.explain(resp.StatusCode, body)
	e.Class, e.Message = class, c.OneLine(message)
	e.RetryAfter = cmp.Or(e.RetryAfter, backend.RestTime(class, string(body)))
	if class == backend.Overload {
		e.RetryAfter = cmp.Or(e.RetryAfter, limitReset(resp.Header))
	}
	if class == backend.TooLong {
		e.Prompt, e.Context = backend.ContextSizes(string(body))
	}
	return e
}

// InvalidAnswer is the error of an answer that could be decoded and cannot be right.
func (c *Client) InvalidAnswer(why string) error {
	return &backend.Error{Host: c.name, Class: backend.Server, Message: why}
}

// Named is an error about an answer, with the host's name in it.
func (c *Client) Named(err error) error {
	if said, ok := errors.AsType[*backend.Error](err); ok {
		said.Host = c.name
		return said
	}
	return c.InvalidAnswer(err.Error())
}

// BadRequest is the error of a request that was found to be invalid before it was sent.
func (c *Client) BadRequest(why string) error {
	return &backend.Error{Host: c.name, Class: backend.Request, Message: why}
}

// callerError is the error of a request whose context has ended, whichever error the
// network returned for it; nil while the context is alive.
func (c *Client) callerError(ctx context.Context) error {
	err := ctx.Err()
	// A connection's own deadline, taken from the context, may fire just before it.
	if deadline, ok := ctx.Deadline(); err == nil && ok && !time.Now().Before(deadline) {
		err = context.DeadlineExceeded
	}
	switch err {
	case nil:
		return nil
	case context.Canceled:
		return &backend.Error{Host: c.name, Class: backend.Caller, Message: "cancelled", Err: err}
	}
	return &backend.Error{Host: c.name, Class: backend.Caller, Message: "out of time", Err: err}
}

func notJSON(err error) bool {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, kind := errors.AsType[*json.UnmarshalTypeError](err)
	return syntax || kind
}

// cause is err, to be found by errors.Is, unless it looks like the end of a context that
// has not ended: timeouts of the network are DeadlineExceeded too.
func cause(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
