package route

import (
	"math"
	"time"
)

const (
	// decay is the time in which a latency falls to 1/e, as in Finagle's peak EWMA.
	decay = 10 * time.Second
	// penalty is what a failure counts as: longer than most calls, and forgotten in
	// about half a minute where calls take a second.
	penalty = 30 * time.Second
)

// EWMA is a moving latency that is quick to see trouble and slow to forget it: it
// jumps to any sample above it, and decays exponentially otherwise. So a host that
// has not been asked for a while is tried again. The zero EWMA knows nothing.
type EWMA struct {
	peak time.Duration
	at   time.Time // when peak was right
}

// Observe takes in a call that took d.
func (e *EWMA) Observe(now time.Time, d time.Duration) {
	e.peak = max(e.Value(now), d)
	e.at = now
}

// Fail takes in a call that failed, however fast.
func (e *EWMA) Fail(now time.Time) { e.Observe(now, penalty) }

// Value is the latency as of now; 0 means that nothing is known, or all forgotten.
func (e *EWMA) Value(now time.Time) time.Duration {
	age := max(0, now.Sub(e.at))
	return time.Duration(float64(e.peak) * math.Exp(-float64(age)/float64(decay)))
}
