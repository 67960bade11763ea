package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
)

// ErrQueueTimeout means that a request's time was over before a slot came free,
// or would have been before there was an answer; see QueueTimeoutError.
var ErrQueueTimeout = errors.New("no slot came free in time")

// ErrNoHost means that no host could serve a request; see NoHostError.
var ErrNoHost = errors.New("no host available")

// ErrTooSlow is for the cause of a context that is cancelled because its host has not
// begun to answer in time. It counts as a timeout, which may be the fault of the host, and
// not as a caller who left.
var ErrTooSlow = errors.New("too slow")

// ErrCrashes means that a request is not tried again because models crash under it. The
// error is that of the last crash, too.
var ErrCrashes = errors.New("this request crashes the model")

// FullError refuses a request at once, because too many are waiting.
type FullError struct {
	Waiting    int           // requests that wait already
	RetryAfter time.Duration // when a place should be free, by the pace of late; never 0
	Caller     bool          // too many are the caller's own, though others still find room
}

func (e *FullError) Error() string {
	if e.Caller {
		return fmt.Sprintf("this caller's share of the queue is full (%d waiting)", e.Waiting)
	}
	return fmt.Sprintf("the queue is full (%d waiting)", e.Waiting)
}

// QueueTimeoutError ends the wait of a request whose time does not reach for it. It is
// ErrQueueTimeout.
type QueueTimeoutError struct {
	RetryAfter time.Duration // that one which comes now waits for a slot; 0 if not known
}

func (e *QueueTimeoutError) Error() string {
	if e.RetryAfter == 0 {
		return ErrQueueTimeout.Error()
	}
	return fmt.Sprintf("%v: the wait is about %v", ErrQueueTimeout, roundUp(e.RetryAfter))
}

// Unwrap makes errors.Is see ErrQueueTimeout.
func (*QueueTimeoutError) Unwrap() error { return ErrQueueTimeout }

// Failure is a try of a request that failed.
type Failure struct {
	Host string
	Err  error

	crashed bool // the model died, and this request may be why
}

// NoHostError says of each host why it did not serve a request. It is ErrNoHost
// and what went wrong on each host.
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

// sum is what a request that was tried and given up has failed of.
func sum(failed []Failure) error {
	last := failed[len(failed)-1]
	switch {
	case crashes(failed) >= mostCrashes:
		return &crashError{last.Err}
	case !hostsFault(last.Err) && !isLack(last.Err):
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
	faults := slices.DeleteFunc(slices.Clone(byHost), func(f Failure) bool { return isLack(f.Err) })
	switch {
	case len(faults) == 0:
		return lack(byHost)
	case slices.ContainsFunc(faults, func(f Failure) bool { return !hasAnswered(f.Err) }):
		return &NoHostError{Hosts: byHost}
	}
	return faults[len(faults)-1].Err
}

// hasAnswered reports whether a host that failed is there all the same.
func hasAnswered(err error) bool {
	class := backend.ClassOf(err)
	return class == backend.Server || class == backend.Crashed || class == backend.Unloadable || class == backend.BadOutput
}

// lack is the failure of hosts that lack what a request takes. That of those which have
// the model says more than that of the others.
func lack(failed []Failure) error {
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

// isLack reports whether a host failed because it lacks what the request takes, which
// another may have.
func isLack(err error) bool {
	switch backend.ClassOf(err) {
	case backend.ModelMissing, backend.NoRoom, backend.Forbidden, backend.Unsupported:
		return true
	}
	return false
}

// hostsFault reports whether another try could cure a failure.
func hostsFault(err error) bool {
	switch backend.ClassOf(err) {
	case backend.Transport, backend.Overload, backend.Server, backend.Crashed, backend.Unloadable, backend.BadOutput:
		return true
	}
	return false
}

// isHopeless reports whether a request has failed twice in a way that tends to come again:
// a third try would only take a host's time.
func isHopeless(failed []Failure) bool {
	n := 0
	for _, f := range failed {
		switch backend.ClassOf(f.Err) {
		case backend.Unloadable, backend.BadOutput:
			n++
		}
	}
	return n > 1
}

// gaveUp is why a wait ended before its time, which for one that comes now would be so long.
func gaveUp(ctx context.Context, wait time.Duration) error {
	if timedOut(ctx) {
		return &QueueTimeoutError{RetryAfter: wait}
	}
	return ctx.Err()
}
