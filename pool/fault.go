package pool

import (
	"fmt"
	"math"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

// This file says what a caller can do about the errors of the pool.

// Fault tells the caller to come back later.
func (e *FullError) Fault() *fault.Error {
	return &fault.Error{
		Code: fault.Overloaded, Message: e.Error(), Hint: fault.TryAgain(e.RetryAfter),
		Retryable: true, RetryAfter: e.RetryAfter,
	}
}

// Fault tells the caller to come back later, or to allow more time.
func (e *QueueTimeoutError) Fault() *fault.Error {
	f := &fault.Error{
		Code: fault.QueueTimeout, Message: e.Error(), Retryable: true, RetryAfter: e.RetryAfter,
		Hint: "all slots are busy: try again later, or allow more with timeout_seconds",
	}
	if e.RetryAfter > 0 {
		f.Hint = fmt.Sprintf("all slots are busy: %s, or allow more than %.0f s with timeout_seconds", fault.TryAgain(e.RetryAfter), math.Ceil(e.RetryAfter.Seconds()))
	}
	return f
}

// Fault tells the caller how to get a host.
func (e *NoHostError) Fault() *fault.Error {
	return &fault.Error{Code: fault.NoHost, Message: e.Error(), Hint: backend.HintUnreachable, Retryable: true}
}

// crashError is ErrCrashes with the error of the last crash.
type crashError struct{ last error }

func (e *crashError) Error() string { return fmt.Sprintf("%v: %v", ErrCrashes, e.last) }

// Unwrap makes errors.Is and errors.As see ErrCrashes and the last crash.
func (e *crashError) Unwrap() []error { return []error{ErrCrashes, e.last} }

// Fault tells the caller not to send the same request again.
func (e *crashError) Fault() *fault.Error {
	f := &fault.Error{
		Code: fault.Upstream, Message: e.Error(),
		Hint: "change the request (a simpler format, fewer options or less text), or use another model",
	}
	if last := fault.Of(e.last); !last.Retryable { // then it knows why, such as a lack of memory
		f.Hint = last.Hint
	}
	return f
}
