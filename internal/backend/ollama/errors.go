package ollama

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ollama/ollama/api"

	"ollama-mcp/internal/backend"
)

// failure explains a call that ended without an answer, or an error of the api
// client. wait is what the host asked for, if it refused.
func (h *Host) failure(ctx context.Context, err error, wait time.Duration) error {
	if gone := h.callerGone(ctx); gone != nil {
		return gone
	}
	if e, ok := errors.AsType[api.StatusError](err); ok {
		return h.refused(e.StatusCode, e.ErrorMessage, wait)
	}
	if e, ok := errors.AsType[api.AuthorizationError](err); ok {
		return h.refused(e.StatusCode, "", wait)
	}
	if e, ok := errors.AsType[redirected](err); ok {
		return &backend.Error{Host: h.name, Class: backend.Server, Status: e.status, Message: e.Error()}
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return &backend.Error{Host: h.name, Class: backend.Transport, Message: transportWords(e.Err), Err: cause(e.Err)}
	}
	return h.broken(ctx, err, 0)
}

// broken explains an answer with status 200 that ended badly after some pieces.
func (h *Host) broken(ctx context.Context, err error, pieces int) error {
	if gone := h.callerGone(ctx); gone != nil {
		return gone
	}
	e := &backend.Error{Host: h.name, Class: backend.Server, Err: cause(err)}
	said, isSaid := errors.AsType[hostError](err)
	_, isHuge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case isSaid:
		e.Class, e.Message, e.Err = classify(http.StatusInternalServerError, string(said)), h.oneLine(string(said)), nil
	case err == errLongLine:
		e.Message = fmt.Sprintf("a line of the answer is longer than %d bytes", h.maxLine)
	case isHuge:
		e.Message = fmt.Sprintf("the answer is longer than %d bytes", maxAnswer)
	case notJSON(err):
		e.Message = "the answer is not Ollama's"
	case err == io.EOF && pieces == 0:
		e.Message = "the answer is empty"
	case err == io.EOF:
		e.Message = fmt.Sprintf("the answer ended after %d pieces without being done", pieces)
	case pieces == 0:
		e.Message = "the answer could not be read"
	default:
		e.Message = fmt.Sprintf("the answer was cut after %d pieces", pieces)
	}
	return e
}

// refusal explains an answer with a status other than 200.
func (h *Host) refusal(ctx context.Context, resp *http.Response) error {
	timer := time.AfterFunc(patience, func() { resp.Body.Close() })
	defer timer.Stop()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // half of it says enough
	if gone := h.callerGone(ctx); gone != nil {
		return gone
	}
	var said struct{ Error string }
	if json.Unmarshal(body, &said) != nil || said.Error == "" {
		said.Error = string(body)
	}
	return h.refused(resp.StatusCode, said.Error, retryAfter(resp.Header))
}

func (h *Host) refused(status int, said string, wait time.Duration) error {
	return &backend.Error{
		Host: h.name, Class: classify(status, said), Status: status,
		Message: h.oneLine(said), RetryAfter: wait,
	}
}

// senseless is an answer that was understood and cannot be right.
func (h *Host) senseless(what string) error {
	return &backend.Error{Host: h.name, Class: backend.Server, Message: what}
}

// callerGone is the error of a request whose context has ended, whatever the
// network made of it; nil while the caller waits.
func (h *Host) callerGone(ctx context.Context) error {
	err := ctx.Err()
	// A connection's own deadline, taken from the context, may fire just before it.
	if deadline, ok := ctx.Deadline(); err == nil && ok && !time.Now().Before(deadline) {
		err = context.DeadlineExceeded
	}
	switch err {
	case nil:
		return nil
	case context.Canceled:
		return &backend.Error{Host: h.name, Class: backend.Caller, Message: "cancelled", Err: err}
	}
	return &backend.Error{Host: h.name, Class: backend.Caller, Message: "out of time", Err: err}
}

// classify sorts a refusal by its status and, where Ollama's status misleads, by
// the host's words.
func classify(status int, said string) backend.Class {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return backend.Overload
	case http.StatusUnauthorized, http.StatusForbidden:
		return backend.Unauthorized
	case http.StatusNotFound:
		if strings.HasPrefix(said, "model ") && strings.Contains(said, "not found") {
			return backend.ModelMissing
		}
		return backend.Server // not an Ollama server
	case http.StatusMethodNotAllowed, http.StatusRequestTimeout, 499: // 499: it gave up by itself
		return backend.Server
	}
	switch {
	case isTooLong(said):
		return backend.TooLong
	case startsWith(said, hostsFault):
		return backend.Server
	case startsWith(said, requestsFault), status >= 400 && status < 500:
		return backend.Request
	}
	return backend.Server
}

// What Ollama says with a status that puts the blame on the wrong side.
var (
	hostsFault = []string{ // with 400: the runner is gone, or going
		"do embedding request",
		"error reading embed response",
		"llama runner process",
		"unexpected server status",
	}
	requestsFault = []string{ // with 500
		"invalid format",
		"invalid JSON schema",
		"failed to load model vocabulary required for format", // the schema makes no grammar
		"Failed to create new sequence",                       // an image that cannot be read, or nothing at all
		"failed to create new sequence",
	}
)

func startsWith(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// isTooLong knows what Ollama's server, its runners and its cloud say about a
// prompt that does not fit: "the input length exceeds the context length",
// "prompt too long; exceeded max context length by 7 tokens",
// "request exceeds the available context size", "keep exceeds context".
func isTooLong(said string) bool {
	return strings.Contains(said, "exceed") &&
		(strings.Contains(said, "context length") || strings.Contains(said, "available context") ||
			strings.Contains(said, "exceeds context"))
}

func notJSON(err error) bool {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, kind := errors.AsType[*json.UnmarshalTypeError](err)
	return syntax || kind
}

// cause is err for errors.Is, unless it would pass for the end of a context
// that has not ended: timeouts of the network call themselves DeadlineExceeded.
func cause(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
