package inference

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"ollama-mcp/internal/fault"
	"ollama-mcp/pool"
)

// errTooLate ends the attempt of a rung that is not in time, so that the next is tried
// while there is time for it.
var errTooLate = errors.New("too late")

// hostTooLate is an errTooLate for which a host is to blame, if it was asked.
type hostTooLate struct{ why string }

func (e *hostTooLate) Error() string { return errTooLate.Error() + ": " + e.why }

// Is implements what errors.Is looks for.
func (e *hostTooLate) Is(target error) bool { return target == errTooLate || target == pool.ErrTooSlow }

// Fault implements fault.Explainer.
func (e *hostTooLate) Fault() *fault.Error {
	return &fault.Error{Code: fault.Timeout, Message: e.Error(), Retryable: true, Hint: "allow more with timeout_seconds"}
}

// noSlot is an errTooLate of a rung that was given no slot.
type noSlot struct {
	wait time.Duration // that is expected; 0 if not known
	why  string
}

func (e *noSlot) Error() string { return errTooLate.Error() + ": " + e.why }

// Is implements what errors.Is looks for.
func (e *noSlot) Is(target error) bool { return target == errTooLate }

// Fault implements fault.Explainer.
func (e *noSlot) Fault() *fault.Error {
	f := (&pool.QueueTimeoutError{RetryAfter: e.wait}).Fault()
	f.Message = e.Error()
	return f
}

// patience limits how long a rung may take to begin its answer, so that each rung behind
// it has as much time, and how long it may wait for a slot. Once the answer has begun, it
// may take all of the request's time.
type patience struct {
	cancel  context.CancelCauseFunc
	began   time.Time
	share   func() time.Duration // from began; 0 for no limit. It moves with the deadline
	maxWait time.Duration        // for a slot; 0 for no limit but the share

	mu          sync.Mutex // guards what follows
	wait, begin *time.Timer
}

// limitStart returns ctx, which also ends when the patience with a rung does that has
// others behind it.
func (c *climb) limitStart(ctx context.Context, others int) (context.Context, *patience) {
	if others == 0 {
		return ctx, &patience{cancel: func(error) {}, share: func() time.Duration { return 0 }}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	p := &patience{cancel: cancel, began: time.Now()}
	p.share = func() time.Duration {
		deadline := c.patientUntil()
		if deadline.IsZero() {
			return 0
		}
		return max(deadline.Sub(p.began)/time.Duration(others+1), time.Millisecond)
	}
	if !c.again { // when nobody else has answered, a slot is worth waiting for
		p.maxWait = c.opts.FallbackAfter
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	next, _ := p.untilCheck()
	p.begin = time.AfterFunc(next, p.lateStart)
	if p.maxWait > 0 {
		p.wait = time.AfterFunc(p.maxWait, func() {
			cancel(&noSlot{why: fmt.Sprintf("no slot came free within %v", p.maxWait.Round(time.Millisecond))})
		})
	}
	return ctx, p
}

// patientUntil is by when the rungs have to begin an answer; the zero Time for no limit. All calls
// that wait for the answer have the same patience, which the last of them to come began last.
func (c *climb) patientUntil() time.Time {
	deadline := c.deadline()
	switch soon := c.opts.Patience; {
	case soon == 0 || c.Timeout > 0:
		return deadline
	case deadline.IsZero():
		return c.call.Began.Add(soon)
	case soon < c.limit:
		return deadline.Add(soon - c.limit)
	}
	return deadline
}

// longestPause is how long a rung that has others behind it may ask to be left alone before
// the next is tried.
const longestPause = time.Second

// maxPause is that time for a rung that has so many others behind it; 0 for as long as the
// pool waits.
func (e *Engine) maxPause(others int) time.Duration {
	switch after := e.opts.FallbackAfter; {
	case others == 0:
		return 0
	case after > 0:
		return min(after, longestPause)
	}
	return longestPause
}

// recheck bounds how late a share is noticed that has become shorter, because the caller
// with the latest deadline has left.
const recheck = time.Second

// untilCheck is how long to wait before the share is checked again, and the share as of
// now; 0 or less if the share is over.
func (p *patience) untilCheck() (next, share time.Duration) {
	share = p.share()
	if share == 0 {
		return recheck, 0
	}
	return min(share-time.Since(p.began), recheck), share
}

// lateStart ends the attempt if its share of the time is over, as of now: callers with
// other deadlines may have joined or left since it began.
func (p *patience) lateStart() {
	next, share := p.untilCheck()
	if next > 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.begin != nil {
			p.begin.Reset(next)
		}
		return
	}
	p.cancel(&hostTooLate{fmt.Sprintf("no answer had begun within its share of the time, %v", share.Round(time.Millisecond))})
}

// expect ends a wait for a slot at once that is expected to last too long.
func (p *patience) expect(wait time.Duration) {
	most := p.share()
	if p.maxWait > 0 && (most == 0 || p.maxWait < most) {
		most = p.maxWait
	}
	if most > 0 && wait > most {
		p.cancel(&noSlot{wait, fmt.Sprintf("no slot would come free in time: the wait is about %.0f s, and %v are left",
			math.Ceil(wait.Seconds()), most.Round(time.Millisecond))})
	}
}

// granted ends the limit for the wait, answered that for the answer.
func (p *patience) granted()  { p.end(&p.wait) }
func (p *patience) answered() { p.end(&p.begin) }

func (p *patience) end(timer **time.Timer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *timer != nil {
		(*timer).Stop()
		*timer = nil
	}
}

func (p *patience) stop() {
	p.granted()
	p.answered()
	p.cancel(nil)
}
