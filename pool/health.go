package pool

import (
	"fmt"
	"time"

	"ollama-mcp/internal/breaker"
	"ollama-mcp/internal/route"
)

// health is how a host, or one model on a host, has done of late. The host's own counts
// whether it can be reached and says anything: other failures of one model, such as those
// of a broken file, say nothing about the others.
type health struct {
	breaker *breaker.Breaker
	trouble error      // of the last call or check, if it failed; else nil
	failure time.Time  // when a call last failed
	penalty route.EWMA // of failures, as latency
}

func newHealth() health { return health{breaker: breaker.New(breaker.Options{})} }

// failed takes in that a call has failed.
func (h *health) failed(err error, now time.Time) {
	h.trouble, h.failure = err, now
	h.penalty.Fail(now)
}

// doubtFor is how long what failed is asked only where no other is free. A host that fails
// at once is always free, and would draw the calls until it is ejected.
const doubtFor = 10 * time.Second

func (h *health) doubtful(now time.Time) bool {
	return h.trouble != nil && now.Sub(h.failure) < doubtFor
}

// why is the reason for which no call passes, or only one that is a trial; else nil.
func (h *health) why(now time.Time) error {
	var out error
	switch h.breaker.State(now) {
	case breaker.Closed:
		return nil
	case breaker.Open:
		out = fmt.Errorf("ejected for %v", roundUp(h.breaker.Until().Sub(now)))
	default:
		out = fmt.Errorf("being tried again")
	}
	if h.trouble != nil {
		out = fmt.Errorf("%w after %w", out, h.trouble)
	}
	return out
}

// verdict is what the end of a lease says about its host, and about its model there.
type verdict struct{ host, model breaker.Outcome }

// failed reports whether the host or the model is to blame.
func (v verdict) failed() bool {
	for _, o := range []breaker.Outcome{v.host, v.model} {
		if o != breaker.Undecided && o != breaker.Success {
			return true
		}
	}
	return false
}
