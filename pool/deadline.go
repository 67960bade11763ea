package pool

import (
	"context"
	"errors"
	"math"
	"time"

	"ollama-mcp/internal/route"
)

// deadline is when the time of a request is over: the deadline of its context or that of
// its need, whichever is earlier. The latter may move later at any time, so it is read
// whenever it decides something.
type deadline struct {
	ofContext time.Time        // the zero Time if the context has none
	ofNeed    func() time.Time // nil if the need has none
}

func deadlineOf(ctx context.Context, need route.Need) deadline {
	at, _ := ctx.Deadline()
	return deadline{at, need.Deadline}
}

// before reports whether the deadline passes before a time, as of now.
func (d deadline) before(t time.Time) bool {
	if !d.ofContext.IsZero() && d.ofContext.Before(t) {
		return true
	}
	if d.ofNeed == nil {
		return false
	}
	at := d.ofNeed()
	return !at.IsZero() && at.Before(t)
}

// withDeadline returns a context that is cancelled with the cause
// context.DeadlineExceeded when a deadline passes that may move later until then. The
// returned function releases what the context holds.
func withDeadline(ctx context.Context, at func() time.Time) (context.Context, context.CancelFunc) {
	if at == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var timer *time.Timer
	check := func() {
		switch end := at(); {
		case end.IsZero() || ctx.Err() != nil:
		case time.Now().Before(end):
			timer.Reset(time.Until(end))
		default:
			cancel(context.DeadlineExceeded)
		}
	}
	timer = time.AfterFunc(math.MaxInt64, check) // check must find the timer set
	check()
	return ctx, func() {
		timer.Stop()
		cancel(nil)
	}
}

// timedOut reports whether a context ended because its time was over. That of a request
// which several callers share is cancelled with the cause context.DeadlineExceeded, since
// the deadline of the last of them was not known when it was made.
func timedOut(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}
