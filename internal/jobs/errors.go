package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ollama-mcp/internal/fault"
)

// Causes with which the context of work ends, beside those of its request, and reasons for
// which a job cannot be kept.
var (
	// ErrCancelled means that the owner of the job has cancelled it.
	ErrCancelled = fmt.Errorf("the job was cancelled: %w", context.Canceled)
	// ErrStopped means that the program ends.
	ErrStopped = errors.New("the job ended with the server that ran it")
	// ErrEnded means that there is nothing to keep.
	ErrEnded = errors.New("the work has ended")
)

// unknownError says that there is no such job for a caller. Jobs of others read like those
// that never were.
type unknownError struct {
	id  string
	why unknown
}

type unknown int

const (
	unheardOf unknown = iota
	expired
	ofAnotherRun
	ofAnotherProcess
	unreachable // it may be one of another replica, none of which can be asked
	nowhere     // no replica knows it
	apart       // its result is with the replica that made it, and not shared
)

func (e *unknownError) Error() string {
	switch e.why {
	case expired:
		return fmt.Sprintf("the result of job %.64q is not kept any more", e.id)
	case ofAnotherRun:
		return fmt.Sprintf("job %.64q ended with the server that ran it", e.id)
	case ofAnotherProcess:
		return fmt.Sprintf("job %.64q is worked on by another server, with which this one shares the state directory", e.id)
	case unreachable:
		return fmt.Sprintf("job %.64q is one of another server, which cannot be reached now", e.id)
	case nowhere:
		return fmt.Sprintf("the result of job %.64q is not kept any more, or the job ended with the server that ran it", e.id)
	case apart:
		return fmt.Sprintf("the result of job %.64q is too large to be had from another server than the one that made it", e.id)
	}
	return fmt.Sprintf("there is no job %.64q of yours", e.id)
}

// Fault implements fault.Explainer.
func (e *unknownError) Fault() *fault.Error {
	f := &fault.Error{Code: fault.NotFound, Message: e.Error(), Hint: "call the tool again that began it"}
	switch e.why {
	case unheardOf:
		f.Hint = "copy the id from the result that named the job, or list your jobs"
	case ofAnotherProcess:
		f.Hint, f.Retryable, f.RetryAfter = "ask for it when it has ended", true, 10*time.Second
	case unreachable:
		f.Hint, f.Retryable, f.RetryAfter = "try again", true, 5*time.Second
	case apart:
		f.Hint, f.Retryable = "try again, since that server may be the one that answers; or call the tool again and ask for less", true
	}
	return f
}

// lostError says that a job has no result, since the program ended before it.
type lostError struct {
	id, tool string
	// unheard says that this is not known for certain: nothing is heard of the replica any more.
	unheard bool
}

func (e *lostError) Error() string {
	if e.unheard {
		return fmt.Sprintf("job %.64q ended with the server that ran it, of which nothing has been heard for seconds", e.id)
	}
	return fmt.Sprintf("job %.64q ended with the server that ran it", e.id)
}

// Fault implements fault.Explainer.
func (e *lostError) Fault() *fault.Error {
	hint := "call the tool again"
	if e.tool == "map" {
		hint += " with the same inputs: those that have an answer are not asked again"
	}
	return &fault.Error{Code: fault.Cancelled, Message: e.Error(), Hint: hint, Retryable: true}
}

// fullError says that an owner has too many jobs that have not ended.
type fullError struct{ jobs int }

func (e *fullError) Error() string {
	return fmt.Sprintf("there is no room for another job: %d of yours have not ended", e.jobs)
}

// Fault implements fault.Explainer.
func (e *fullError) Fault() *fault.Error {
	return &fault.Error{Code: fault.Overloaded, Message: e.Error(), Hint: "wait for one of them, or cancel one", Retryable: true}
}

// tooLargeError says that a result cannot be kept.
type tooLargeError struct {
	size int
	most int64
}

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the result of %d bytes is larger than the %d bytes that are kept of a caller's jobs", e.size, e.most)
}

// Fault implements fault.Explainer.
func (e *tooLargeError) Fault() *fault.Error {
	return &fault.Error{Code: fault.InvalidArgument, Message: e.Error(), Hint: "ask for less"}
}
