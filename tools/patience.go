package tools

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// errTooLate ends the asking of a rung that is not in time, so that the next is asked
// while there is time for it.
var errTooLate = errors.New("too late")

// hostTooLate is an errTooLate for which a host is to blame, if it was asked.
type hostTooLate struct{ why string }

func (e *hostTooLate) Error() string { return errTooLate.Error() + ": " + e.why }

// Fault tells the caller to come back later, or to allow more time.
func (e *hostTooLate) Fault() *fault.Error {
	return &fault.Error{
		Code: fault.Timeout, Message: e.Error(), Retryable: true,
		Hint: "try again later, or allow more with timeout_seconds",
	}
}

// Is implements what errors.Is looks for.
func (e *hostTooLate) Is(target error) bool { return target == errTooLate || target == pool.ErrTooSlow }

// noSlot is an errTooLate of a rung that was given no slot.
type noSlot struct {
	wait time.Duration // that was expected; 0 if not known
	why  string
}

func (e *noSlot) Error() string { return e.why }

// Is implements what errors.Is looks for.
func (e *noSlot) Is(target error) bool { return target == errTooLate }

// Unwrap makes it what the pool says of a wait that is over.
func (e *noSlot) Unwrap() error { return &pool.QueueTimeoutError{RetryAfter: e.wait} }

// Fault says what the pool's error says, and why there was no slot.
func (e *noSlot) Fault() *fault.Error {
	f := fault.Of(e.Unwrap())
	f.Message = e.why
	return f
}

// patience is the time that a rung has: to be given a slot, and to begin its answer.
// Once it has begun, it may take as long as the call.
type patience struct {
	cancel      context.CancelCauseFunc
	wait, begin *time.Timer // nil for no limit
	longestWait time.Duration
}

// impatient is ctx, which also ends when the patience does. A limit of 0 for the
// answer is none, as for the last rung; until is when all of it must be over.
func (d Deps) impatient(ctx context.Context, limit time.Duration, until time.Time) (context.Context, *patience) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &patience{cancel: cancel}
	if limit == 0 {
		if !until.IsZero() {
			p.longestWait = time.Until(until)
		}
		return ctx, p
	}
	why := fmt.Sprintf("no answer had begun within its share of the time, %v", limit.Round(time.Millisecond))
	p.begin = time.AfterFunc(limit, func() { cancel(&hostTooLate{why}) })
	p.longestWait = limit
	if d.FallbackAfter > 0 && d.FallbackAfter < limit {
		p.wait = time.AfterFunc(d.FallbackAfter, func() {
			cancel(&noSlot{why: fmt.Sprintf("no slot came free within %v", d.FallbackAfter.Round(time.Millisecond))})
		})
		p.longestWait = d.FallbackAfter
	}
	return ctx, p
}

// watch ends a wait at once that is expected to last too long.
func (p *patience) watch(onWait func(func() route.Standing)) func(func() route.Standing) {
	return func(standing func() route.Standing) {
		onWait(standing)
		if wait := standing().Expect; p.longestWait > 0 && wait > p.longestWait {
			p.cancel(&noSlot{wait, fmt.Sprintf("no slot would come free in time: the wait is about %.0f s, and there are %v", math.Ceil(wait.Seconds()), p.longestWait.Round(time.Millisecond))})
		}
	}
}

// lent ends the limit for the wait, answered that for the answer.
func (p *patience) lent() {
	if p.wait != nil {
		p.wait.Stop()
	}
}

func (p *patience) answered() {
	if p.begin != nil {
		p.begin.Stop()
	}
}

func (p *patience) stop() {
	p.lent()
	p.answered()
	p.cancel(nil)
}
