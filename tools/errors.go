package tools

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/nearest"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// Code names a kind of failure. Clients may build on the codes: they never
// change their meaning.
type Code string

// The codes of failed calls.
const (
	InvalidArgument Code = "invalid_argument"
	ModelNotFound   Code = "model_not_found"
	NoHost          Code = "no_host"
	Overloaded      Code = "overloaded"
	QueueTimeout    Code = "queue_timeout"
	Timeout         Code = "timeout"
	Cancelled       Code = "cancelled"
	ContextTooLong  Code = "context_too_long"
	Upstream        Code = "upstream"
	Unauthorized    Code = "unauthorized"
	Forbidden       Code = "forbidden"
	RateLimited     Code = "rate_limited"
	Refused         Code = "refused"
	Internal        Code = "internal"
)

// Error is a failure that a caller can act on. As JSON it is the structured
// content of a failed call.
type Error struct {
	Code       Code    `json:"code"`
	Message    string  `json:"message"`                       // one line: what went wrong
	Hint       string  `json:"hint,omitempty"`                // one line: what to do next
	Retryable  bool    `json:"retryable"`                     // the same call may succeed later
	RetryAfter float64 `json:"retry_after_seconds,omitempty"` // when, if known

	// Partial is what the model had answered when the call failed, and Thinking what it
	// had thought, if that was asked for. They are sent beside the error, so that nothing
	// is lost.
	Partial  string `json:"-"`
	Thinking string `json:"-"`
}

// Error is the message and the hint in one line.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + "; " + e.Hint
}

func invalid(format string, args ...any) *Error {
	return &Error{Code: InvalidArgument, Message: fmt.Sprintf(format, args...)}
}

// explain turns any failure of a request for a model into one that its caller
// can act on.
func explain(model string, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if left, ok := errors.AsType[*leftOut](err); ok {
		return &Error{Code: left.code, Message: left.why, Hint: left.hint, Retryable: left.code == NoHost || left.code == Timeout}
	}
	if full, ok := errors.AsType[*pool.FullError](err); ok {
		return &Error{
			Code: Overloaded, Message: full.Error(), Hint: "try again later",
			Retryable: true, RetryAfter: seconds(full.RetryAfter),
		}
	}
	if late, ok := errors.AsType[*pool.QueueTimeoutError](err); ok {
		return longWait(err, late.RetryAfter)
	}
	switch {
	case errors.Is(err, errTooLate):
		return &Error{Code: Timeout, Message: err.Error(), Retryable: true, Hint: "try again later, or allow more with timeout_seconds"}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{
			Code: Timeout, Message: "the time limit of this call was reached before there was an answer", Retryable: true,
			Hint: "allow more with timeout_seconds",
		}
	case errors.Is(err, context.Canceled):
		return &Error{Code: Cancelled, Message: "the call was cancelled"}
	}
	if errors.Is(err, pool.ErrCrashes) {
		return &Error{Code: Upstream, Message: err.Error(), Hint: "ask otherwise, with a simpler format, fewer options or less text, or another model"}
	}
	if errors.Is(err, pool.ErrNoHost) {
		return &Error{Code: NoHost, Message: err.Error(), Hint: startOllama, Retryable: true}
	}
	if long, ok := errors.AsType[*promptTooLong](err); ok {
		return &Error{Code: ContextTooLong, Message: err.Error(), Hint: long.hint()}
	}
	if failed, ok := errors.AsType[*backend.Error](err); ok {
		return explainHost(model, err, failed)
	}
	return &Error{Code: Internal, Message: err.Error()}
}

const startOllama = "start Ollama there (ollama serve), or say with --host or OLLAMA_HOST where it runs; `ollama-mcp doctor` tells more"

// explainHost says what can be done about err, which came of a failure on a host.
func explainHost(model string, err error, failed *backend.Error) *Error {
	e := &Error{Message: err.Error(), RetryAfter: seconds(failed.RetryAfter)}
	switch failed.Class {
	case backend.Transport:
		e.Code, e.Retryable = NoHost, true
		e.Hint = startOllama
	case backend.Overload:
		e.Code, e.Retryable = Overloaded, true
		e.Hint = "try again later"
		e.RetryAfter = max(e.RetryAfter, 1)
	case backend.NoRoom:
		e.Code = Upstream
		e.Hint = "ask for a smaller options.num_ctx, or for a smaller model or quantization"
	case backend.ModelMissing:
		e.Code = ModelNotFound
		e.Message = fmt.Sprintf("%s: model %q is not installed", failed.Host, model)
		e.Hint = "list-models names those that are"
		if pullable.MatchString(model) {
			e.Hint = fmt.Sprintf("install it with `ollama pull %s`", model)
		}
	case backend.Unauthorized:
		e.Code = Unauthorized
		e.Hint = "set OLLAMA_API_KEY to a key that this host accepts"
	case backend.Request:
		e.Code = InvalidArgument
		e.explainRefusal(failed.Message)
	default:
		e.Code, e.Retryable = Upstream, true
		e.Hint = "try again; if it happens again, Ollama's own log says why"
	}
	return e
}

// ofProvider makes an explanation fit a rung that no Ollama of ours serves.
func (e *Error) ofProvider(rung route.Rung) {
	switch e.Code {
	case ModelNotFound:
		e.Message = fmt.Sprintf("%s has no model %q", rung.Provider, rung.Model)
		e.Hint = "ask for one that it serves"
	case NoHost:
		e.Hint = "try again later, or use another model"
	case Unauthorized:
		e.Hint = "this server's key for " + rung.Provider + " is not accepted: ask whoever runs the server"
	case ContextTooLong:
		e.Hint = "send less, or use another model"
	case InvalidArgument:
		e.Hint = "change what it objects to, or use another model"
	case Upstream:
		e.Hint = "try again, or use another model"
	}
	e.Message = rung.String() + ": " + e.Message
}

// explainMissing adds to a model_not_found the names of installed models, and of aliases,
// that the caller may have meant. It asks the hosts, and does without if they are slow.
func (d Deps) explainMissing(ctx context.Context, model string, e *Error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	who := caller.FromContext(ctx)
	var known []string
	for _, alias := range d.settings().aliases(who, "") {
		known = append(known, strings.TrimSuffix(alias, ":latest"))
	}
	for _, host := range d.Hosts.Hosts() {
		models, err := host.Models(ctx)
		if err != nil {
			continue
		}
		for _, m := range models {
			if who.MayUse(backend.CanonicalModel(m.Name)) {
				known = append(known, strings.TrimSuffix(m.Name, ":latest"))
			}
		}
	}
	slices.Sort(known)
	const most = 5
	switch near := nearest.Names(model, known, most); {
	case len(near) > 0:
		e.Hint += "; or did you mean " + strings.Join(quoted(near), " or ") + "?"
	case len(known) > 0:
		e.Hint += "; known are " + strings.Join(quoted(known[:min(len(known), most)]), ", ")
	}
}

// seconds rounds up to whole seconds, so that nobody comes back too early.
func seconds(d time.Duration) float64 { return math.Ceil(d.Seconds()) }

func quoted(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = strconv.Quote(name)
	}
	return out
}
