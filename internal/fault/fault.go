// Package fault holds the errors that a caller can act on: each has a code, a
// message that names the cause, and a hint at the next step.
//
// An error of another package explains itself by having a method Fault, so this
// package imports none of them. Of finds that method in any chain of errors.
package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strings"
	"time"
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
	NotFound        Code = "not_found"
	Refused         Code = "refused"
	Internal        Code = "internal"
)

// Error is a failure that a caller can act on. As JSON it is the structured
// content of a failed call.
type Error struct {
	Code       Code          `json:"code"`
	Message    string        `json:"message"`        // one line: what went wrong
	Hint       string        `json:"hint,omitempty"` // one line: what to do next; "" if nothing helps
	Retryable  bool          `json:"retryable"`      // the same call may succeed later
	RetryAfter time.Duration `json:"-"`              // when it may; 0 if unknown. In JSON: retry_after_seconds, rounded up

	// Partial is what the model had answered when the call failed, and Thinking
	// what it had thought, if the caller asked for that. They are not part of
	// the error's JSON.
	Partial  string `json:"-"`
	Thinking string `json:"-"`

	// ForLogs is what logs say instead of a Message that quotes an answer; "" for Message.
	ForLogs string `json:"-"`
}

// Explainer is an error that explains itself to callers. Fault returns an Error
// that its caller may change.
type Explainer interface {
	error
	Fault() *Error
}

// Invalidf returns an error of code InvalidArgument.
func Invalidf(format string, args ...any) *Error {
	return &Error{Code: InvalidArgument, Message: fmt.Sprintf(format, args...)}
}

// Of explains any error, nil excepted, without the names of files that the system puts into
// errors: callers know the files of this server by other names, or not at all. The outermost Explainer in its chain
// decides, and what was written in front of that one's text stays in front of
// the message. An ended context is Timeout or Cancelled; every other error is
// Internal. The result belongs to the caller, who may change it.
func Of(err error) *Error {
	e := of(err)
	e.Message, e.Hint = withoutFiles(err, e.Message), withoutFiles(err, e.Hint)
	return e
}

// of is Of with the names of files.
func of(err error) *Error {
	if known, ok := errors.AsType[Explainer](err); ok {
		e := known.Fault()
		if prefix, found := strings.CutSuffix(err.Error(), known.Error()); found {
			e.Message = prefix + e.Message
		}
		return e
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{
			Code: Timeout, Message: "the time limit of this call was reached before there was an answer", Retryable: true,
			Hint: "allow more with timeout_seconds",
		}
	case errors.Is(err, context.Canceled):
		return &Error{Code: Cancelled, Message: "the call was cancelled"}
	}
	return &Error{Code: Internal, Message: err.Error()}
}

// withoutFiles removes from a text what an error says of files beside what is wrong with them.
func withoutFiles(err error, text string) string {
	switch e := err.(type) {
	case *fs.PathError:
		text = strings.ReplaceAll(text, e.Error(), e.Err.Error())
	case *os.LinkError:
		text = strings.ReplaceAll(text, e.Error(), e.Err.Error())
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			text = withoutFiles(inner, text)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			text = withoutFiles(inner, text)
		}
	}
	return text
}

// Fault returns a copy of e.
func (e *Error) Fault() *Error { return new(*e) }

// Error returns the message, the hint, and when to try again in one line.
func (e *Error) Error() string {
	line := e.Message
	if e.Hint != "" {
		line += "; " + e.Hint
	}
	if again := TryAgain(e.RetryAfter); e.Retryable && e.RetryAfter > 0 && !strings.Contains(line, again) {
		line += "; " + again
	}
	return line
}

// TryAgain is the hint to try again after a time; 0 if that is not known.
func TryAgain(after time.Duration) string {
	if after <= 0 {
		return "try again later"
	}
	return fmt.Sprintf("try again in %d s", roundUp(after))
}

// Count returns a number and the noun that it counts, such as "1 token" or "3 tokens".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// List names the first of some things, at most so many, and says how many more there are.
func List(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// roundUp returns whole seconds, so that nobody comes back too early.
func roundUp(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }

// MarshalJSON writes RetryAfter in whole seconds, rounded up.
func (e *Error) MarshalJSON() ([]byte, error) {
	type fields Error // without this method
	return json.Marshal(struct {
		*fields
		RetryAfter int64 `json:"retry_after_seconds,omitempty"`
	}{(*fields)(e), roundUp(e.RetryAfter)})
}
