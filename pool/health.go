package pool

import (
	"fmt"
	"time"

	"ollama-mcp/internal/breaker"
	"ollama-mcp/internal/route"
)

// health records how a host, or one model on a host, has done recently. A host's own health is
// about whether the host is reachable and responds at all. Other failures of one model, such as
// those of a broken file, say nothing about the other models.
type health struct {
	breaker *breaker.Breaker
	trouble error      // of the last call or check; nil if it succeeded
	failure time.Time  // when a call last failed
	penalty route.EWMA // for failures, as latency
}

func newHealth() health { return health{breaker: breaker.New(nil)} }

// recordFailure records a call that failed.
func (h *health) recordFailure(err error, now time.Time) {
	h.trouble, h.failure = err, now
	h.penalty.Fail(now)
}

// doubtFor is the time after a failure during which a host is used only if no other is free. A
// host that fails at once is always free, and would attract all calls until it is ejected.
const doubtFor = 10 * time.Second

func (h *health) doubtful(now time.Time) bool {
	return h.trouble != nil && now.Sub(h.failure) < doubtFor
}

// why returns why the circuit breaker lets no call through, or only a trial; nil if it is closed.
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

// verdict is what the end of a lease says about its host, and about the model there.
type verdict struct{ host, model breaker.Outcome }

// isFailure reports whether the host or the model is to blame.
func (v verdict) isFailure() bool {
	for _, o := range []breaker.Outcome{v.host, v.model} {
		if o != breaker.Undecided && o != breaker.Success {
			return true
		}
	}
	return false
}
