package route

import "time"

// State is how a ladder fares.
type State string

// The states of a ladder.
const (
	// Normal: the first rung answers.
	Normal State = "normal"
	// Overloaded: the first rung is asked, and often too busy to answer in time.
	Overloaded State = "overloaded"
	// Degraded: the first rung has failed again and again, and is left alone but for
	// a call now and then that finds out whether it is back.
	Degraded State = "degraded"
	// Recovering: the first rung has answered again, and gets a part of the calls.
	Recovering State = "recovering"
)

// Outcome is the result of an attempt on the first rung of a ladder.
type Outcome int

// The outcomes of such an attempt.
const (
	Answered Outcome = iota
	Busy             // it was refused, or would not have been in time
	Failed
)

// How many outcomes in a row change the state, and what a ladder in trouble asks of
// its first rung. They differ for better and for worse, so that a rung that answers
// every other call does not change the state with each of them.
const (
	toTrouble  = 3               // not answered, to be overloaded or degraded
	toNormal   = 5               // answered, to be normal again
	probeEvery = 5 * time.Second // while degraded
	recovery   = 4               // while recovering, one call in so many
)

// Health is the state of a ladder of several rungs. The zero value is normal. It is
// not safe for concurrent use.
type Health struct {
	state  State // "" is Normal
	since  time.Time
	reason string

	answered, missed int // outcomes in a row
	failed           int // of those missed, the ones that failed
	probed           time.Time
	turn             int // calls since recovering
}

// State is how the ladder fares, since when, and why.
func (h *Health) State() (state State, since time.Time, reason string) {
	if h.state == "" {
		return Normal, h.since, h.reason
	}
	return h.state, h.since, h.reason
}

// TryFirst reports whether a call that begins now is to try the first rung. If so,
// Record must be told the outcome, unless the call was cancelled.
func (h *Health) TryFirst(now time.Time) bool {
	switch h.state {
	case Degraded:
		if now.Sub(h.probed) < probeEvery {
			return false
		}
		h.probed = now
	case Recovering:
		h.turn++
		return h.turn%recovery == 0
	}
	return true
}

// Record takes in the outcome of an attempt on the first rung, and its reason. It
// reports whether the state has changed.
func (h *Health) Record(now time.Time, outcome Outcome, reason string) (changed bool) {
	if outcome == Answered {
		h.answered, h.missed, h.failed = h.answered+1, 0, 0
	} else {
		h.answered, h.missed = 0, h.missed+1
		if outcome == Failed {
			h.failed++
		}
	}
	next := h.next(outcome)
	if next == h.state || next == Normal && h.state == "" {
		return false
	}
	h.state, h.since, h.reason = next, now, reason
	h.answered, h.missed, h.failed, h.turn = 0, 0, 0, 0
	if next == Degraded {
		h.probed = now
	}
	return true
}

func (h *Health) next(outcome Outcome) State {
	switch h.state {
	case Degraded:
		if outcome == Answered {
			return Recovering
		}
	case Recovering:
		if outcome != Answered {
			return Degraded
		}
		if h.answered >= toNormal {
			return Normal
		}
	default:
		switch {
		case h.failed >= toTrouble:
			return Degraded
		case h.missed >= toTrouble:
			return Overloaded
		case h.answered >= toNormal:
			return Normal
		}
	}
	return h.state
}
