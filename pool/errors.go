package pool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

// ErrQueueTimeout means that a request's deadline passed before a slot was free, or would have
// passed before there was an answer; see QueueTimeoutError.
var ErrQueueTimeout = errors.New("no slot came free in time")

// ErrNoHost means that no host could serve a request; see NoHostError.
var ErrNoHost = errors.New("no host available")

// ErrTooSlow is the cause with which a caller of With cancels the context of a host that has not
// begun to answer in time. It counts as a timeout, which may be the host's fault, and not as a
// cancellation.
var ErrTooSlow = errors.New("too slow")

// ErrCrashes means that a request is not retried because it seems to crash models. An error that
// is ErrCrashes is also the error of the last crash.
var ErrCrashes = errors.New("this request crashes the model")

// FullError refuses a request at once, because too many are waiting.
type FullError struct {
	Waiting    int           // requests that wait already
	RetryAfter time.Duration // when a place should be free, at the recent pace; never 0
	Caller     bool          // the caller's own share is full, while others still have room
}

func (e *FullError) Error() string {
	if e.Caller {
		return fmt.Sprintf("this caller's share of the queue is full (%d waiting)", e.Waiting)
	}
	return fmt.Sprintf("the queue is full (%d waiting)", e.Waiting)
}

// QueueTimeoutError is the error of a request that cannot be answered before its deadline. It is
// ErrQueueTimeout.
type QueueTimeoutError struct {
	RetryAfter time.Duration // the expected wait of a request that arrives now; 0 if not known
}

func (e *QueueTimeoutError) Error() string {
	if e.RetryAfter == 0 {
		return ErrQueueTimeout.Error()
	}
	return fmt.Sprintf("%v: the wait is about %v", ErrQueueTimeout, roundUp(e.RetryAfter))
}

// Unwrap makes errors.Is see ErrQueueTimeout.
func (*QueueTimeoutError) Unwrap() error { return ErrQueueTimeout }

// Failure is an attempt that failed.
type Failure struct {
	Host string
	Err  error

	crashed bool // the model crashed, perhaps because of this request
}

// NoHostError says for each host why it did not serve a request. It is ErrNoHost, and the
// error of each host.
type NoHostError struct {
	Hosts []Failure // empty if there are no hosts
}

func (e *NoHostError) Error() string {
	if len(e.Hosts) == 0 {
		return ErrNoHost.Error() + ": there are none"
	}
	reasons := make([]string, len(e.Hosts))
	for i, f := range e.Hosts {
		reason := f.Err.Error()
		if failed, ok := errors.AsType[*backend.Error](f.Err); ok && failed.Message != "" {
			reason = failed.Message
		}
		reasons[i] = f.Host + ": " + reason
	}
	return fmt.Sprintf("%v (%s)", ErrNoHost, strings.Join(reasons, ", "))
}

// Unwrap makes errors.Is and errors.As see ErrNoHost and the failures.
func (e *NoHostError) Unwrap() []error {
	all := []error{ErrNoHost}
	for _, f := range e.Hosts {
		all = append(all, f.Err)
	}
	return all
}

// summarize returns the error of a request whose attempts have all failed.
func summarize(failed []Failure) error {
	last := failed[len(failed)-1]
	switch {
	case crashes(failed) >= mostCrashes:
		return &crashError{last.Err}
	case !isRetryable(last.Err) && !cannotServe(last.Err):
		return last.Err
	}
	byHost := make([]Failure, 0, len(failed)) // the last of each
	for i, f := range failed {
		if !slices.ContainsFunc(failed[i+1:], func(g Failure) bool { return g.Host == f.Host }) {
			byHost = append(byHost, f)
		}
	}
	if len(byHost) == 1 {
		return last.Err
	}
	faults := slices.DeleteFunc(slices.Clone(byHost), func(f Failure) bool { return cannotServe(f.Err) })
	switch {
	case len(faults) == 0:
		return whyCannotServe(byHost)
	case slices.ContainsFunc(faults, func(f Failure) bool { return !hasAnswered(f.Err) }):
		return &NoHostError{Hosts: byHost}
	}
	last = faults[len(faults)-1]
	for _, f := range faults { // the host that asks for the shortest pause says when to come back
		if !errors.Is(f.Err, backend.Overload) || errors.Is(last.Err, backend.Overload) && retryAfter(f.Err) >= retryAfter(last.Err) {
			continue
		}
		last = f
	}
	return last.Err
}

// hasAnswered reports whether an error came from the host itself, which is reachable then.
func hasAnswered(err error) bool {
	switch backend.ClassOf(err) {
	case backend.Server, backend.Crashed, backend.Unloadable, backend.BadOutput, backend.Overload:
		return true
	}
	return false
}

// whyCannotServe returns one error for hosts that cannot serve a request. The errors of hosts
// that have the model say more than those of the others.
func whyCannotServe(failed []Failure) error {
	for _, class := range []backend.Class{backend.NoRoom, backend.Forbidden, backend.Unsupported} {
		if those := slices.DeleteFunc(slices.Clone(failed), func(f Failure) bool { return !errors.Is(f.Err, class) }); len(those) > 0 {
			failed = those
			break
		}
	}
	names := make([]string, len(failed))
	for i, f := range failed {
		names[i] = f.Host
	}
	all := &backend.Error{Host: strings.Join(names, ", ")}
	if first, ok := errors.AsType[*backend.Error](failed[0].Err); ok {
		all.Class, all.Message = first.Class, first.Message
	}
	return all
}

// cannotServe reports whether a host failed because it lacks something that the request needs,
// and that another host may have.
func cannotServe(err error) bool {
	switch backend.ClassOf(err) {
	case backend.ModelMissing, backend.NoRoom, backend.Forbidden, backend.Unsupported:
		return true
	}
	return false
}

// isRetryable reports whether another attempt may succeed.
func isRetryable(err error) bool {
	switch backend.ClassOf(err) {
	case backend.Transport, backend.Overload, backend.Server, backend.Crashed, backend.Unloadable, backend.BadOutput:
		return true
	}
	return false
}

// isPersistent reports whether a request has failed twice in a way that tends to repeat itself:
// a third attempt would only waste a host's time.
func isPersistent(failed []Failure) bool {
	n := 0
	for _, f := range failed {
		switch backend.ClassOf(f.Err) {
		case backend.Unloadable, backend.BadOutput:
			n++
		case backend.Server:
			if backend.IsMisdirected(f.Err) {
				n++
			}
		}
	}
	return n > 1
}

// gaveUp returns the error of a request that left the queue, where a request that arrives now
// would wait for the time given.
func gaveUp(ctx context.Context, wait time.Duration) error {
	if timedOut(ctx) {
		return &QueueTimeoutError{RetryAfter: wait}
	}
	return ctx.Err()
}

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
