package tools

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ollama-mcp/internal/route"
)

// errTooLate ends the asking of a rung that is not in time, so that the next is asked
// while there is time for it.
var errTooLate = errors.New("too late")

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
	p.begin = p.after(limit, "no answer had begun within its share of the time, %v")
	p.longestWait = limit
	if d.FallbackAfter > 0 && d.FallbackAfter < limit {
		p.wait = p.after(d.FallbackAfter, "no slot came free within %v")
		p.longestWait = d.FallbackAfter
	}
	return ctx, p
}

func (p *patience) after(limit time.Duration, why string) *time.Timer {
	return time.AfterFunc(limit, func() {
		p.cancel(fmt.Errorf("%w: "+why, errTooLate, limit.Round(time.Millisecond)))
	})
}

// watch ends a wait at once that is expected to last too long.
func (p *patience) watch(onWait func(func() route.Standing)) func(func() route.Standing) {
	return func(standing func() route.Standing) {
		onWait(standing)
		if wait := standing().Expect; p.longestWait > 0 && wait > p.longestWait {
			p.cancel(fmt.Errorf("%w: the wait would be about %v", errTooLate, wait.Round(time.Second)))
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
