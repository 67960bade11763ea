package pool

import (
	"context"
	"errors"
	"time"

	"ollama-mcp/internal/route"
)

// deadline is the deadline of a request: that of its context or that of its need, whichever is
// earlier. The latter may be extended at any time, so it is read again for each decision.
type deadline struct {
	ofContext time.Time        // the zero Time if the context has none
	ofNeed    func() time.Time // nil if the need has none
}

func deadlineOf(ctx context.Context, need route.Need) deadline {
	at, _ := ctx.Deadline()
	return deadline{at, need.Deadline}
}

// before reports whether the deadline, as it stands now, is before a time.
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

// timedOut reports whether a context ended because its deadline passed. The context of a request
// that several callers share is cancelled with the cause context.DeadlineExceeded instead, since
// the latest of their deadlines was not known when it was created.
func timedOut(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}
