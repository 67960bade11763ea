// Package breaker decides whether a host is well enough to be asked.
//
// It promises to put a host out after a number of its calls failed, to let one call at a
// time try it after a rest, and to lengthen the rest while that keeps failing. It
// counts calls and not time, since one call may last for minutes. It has no lock,
// clock or goroutine. What counts as a failure, and what to do when no host is well,
// is left to package pool.
package breaker

import (
	"math/bits"
	"math/rand/v2"
	"time"
)

const (
	failures = 5   // in a row that put the host out
	window   = 20  // calls that the success ratio looks back on
	enough   = 10  // calls below which there is no ratio
	ratio    = 0.5 // of good calls in the window; less puts the host out

	ejection     = 10 * time.Second  // first rest, and what each further one adds
	maxEjection  = 300 * time.Second // longest rest, before jitter
	jitter       = 0.2               // of a rest, both ways
	probeTimeout = 60 * time.Second  // after which a second probe need not wait for the first
)

// Pass tells Record which calls an outcome may speak for. The zero Pass is never valid.
type Pass uint64

// Breaker watches one host. Use New to make one; it is not safe for concurrent use.
type Breaker struct {
	random func() float64

	open    bool      // the host is out: resting, or on trial
	probing bool      // a probe is on its way; only when open
	until   time.Time // when the next probe may pass; only when open
	closed  time.Time // when the host was last let back in

	streak   int    // failures in a row; only when closed
	history  uint32 // last calls, the latest in bit 0, 1 for a good one; only when closed
	seen     int    // how many bits of history are set, at most window
	level    int    // ejections that good time has not made up for yet
	believed bool   // an active check has been taken at its word since the last success

	last  Pass // given out last
	since Pass // passes before this one are from before the last change of state
}

// New makes a breaker that is closed. random is a source of numbers in [0, 1), for the jitter;
// nil means rand.Float64.
func New(random func() float64) *Breaker {
	if random == nil {
		random = rand.Float64
	}
	return &Breaker{random: random, last: 1, since: 1}
}

// Ready reports whether Allow would let a call pass.
func (b *Breaker) Ready(now time.Time) bool { return !b.open || !now.Before(b.until) }

// Allow lets a call pass, or not. Each call that passes has to be reported with Record,
// with its own pass; one that was not made after all is Undecided.
func (b *Breaker) Allow(now time.Time) (pass Pass, ok bool) {
	if !b.Ready(now) {
		return 0, false
	}
	if b.open {
		b.last++
		b.probing = true
		b.until = now.Add(probeTimeout)
	}
	return b.last, true
}

// Record takes in how a call went. A call that passed before the host was last put out
// or let in says nothing about how it is now, and is ignored.
func (b *Breaker) Record(now time.Time, pass Pass, o Outcome) {
	switch {
	case pass < b.since:
	case !b.open:
		b.count(now, o)
	case o == Undecided:
		if pass == b.last {
			b.probing = false
			b.until = now
		}
	case o == Success:
		b.readmit(now)
	default:
		b.eject(now)
	}
}

// Heal says that an active check found the host well, and ends its rest: the next call
// is a probe. It does not let the host in, since a check is answered even where calls
// hang; and for the same reason it is believed only once between two successes.
func (b *Breaker) Heal(now time.Time) {
	if b.State(now) != Open || b.believed {
		return
	}
	b.believed = true
	b.until = now
	b.level = 0
}

// State is the state as of now.
func (b *Breaker) State(now time.Time) State {
	switch {
	case !b.open:
		return Closed
	case b.probing || !now.Before(b.until):
		return HalfOpen
	default:
		return Open
	}
}

// Until is when the next probe may pass at the latest; the zero Time when closed.
func (b *Breaker) Until() time.Time {
	if !b.open {
		return time.Time{}
	}
	return b.until
}

func (b *Breaker) count(now time.Time, o Outcome) {
	if o == Undecided {
		return
	}
	b.history = b.history << 1 & (1<<window - 1)
	b.seen = min(b.seen+1, window)
	switch o {
	case Success:
		b.history |= 1
		b.streak = 0
		b.believed = false
		return // a good call puts nobody out
	case Failure, Slow:
		b.streak++
	}
	good := bits.OnesCount32(b.history)
	if b.streak >= failures || b.seen >= enough && float64(good) < ratio*float64(b.seen) {
		b.eject(now)
	}
}

// eject puts the host out for as many times ejection as it has ejections to make up
// for. In good time they are forgotten at the same rate.
func (b *Breaker) eject(now time.Time) {
	if !b.open {
		b.level = max(0, b.level-int(now.Sub(b.closed)/ejection))
	}
	b.level = min(b.level+1, int(maxEjection/ejection))
	rest := time.Duration(b.level) * ejection
	rest = time.Duration(float64(rest) * (1 + jitter*(2*b.random()-1)))

	b.open, b.probing = true, false
	b.until = now.Add(rest)
	b.turn()
}

func (b *Breaker) readmit(now time.Time) {
	b.open, b.probing = false, false
	b.closed = now
	b.believed = false
	b.streak, b.history, b.seen = 0, 0, 0
	b.turn()
}

// turn makes all passes given out so far invalid.
func (b *Breaker) turn() {
	b.last++
	b.since = b.last
}
