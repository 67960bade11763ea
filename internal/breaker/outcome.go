package breaker

// Outcome is how a call went, as far as it tells anything about its host.
type Outcome int

// The outcomes. Undecided is the zero Outcome.
const (
	Undecided Outcome = iota // cancelled, or the caller's mistake: counts as nothing
	Success                  // answered, even if with an error that the request deserved
	Failure                  // broken connection, server error, answer cut off
	Slow                     // no first token in a long time: as bad as Failure
	Soft                     // refused for load (503, 429): lowers the success ratio only
)

// State is what a breaker does with calls.
type State int

// The states.
const (
	Closed   State = iota // calls pass
	Open                  // the host rests, no call passes
	HalfOpen              // the rest is over, one call at a time passes as a probe
)

func (s State) String() string {
	return [...]string{"closed", "open", "half-open"}[s]
}
