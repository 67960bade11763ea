package limiter

// refused counts the calls that a host has refused for load.
type refused struct {
	of    int // so many
	calls int
}

const (
	// refusedByChance is how many more calls than expected may be refused before they mean anything.
	refusedByChance = 2
	// enoughCalls is how many calls it takes to know which part of them is refused.
	enoughCalls = 20
)

// add counts a call. Of many, the latter half counts the more.
func (r *refused) add(isRefused bool) {
	if r.calls++; isRefused {
		r.of++
	}
	if r.calls >= 10*enoughCalls {
		r.of, r.calls = r.of/2, r.calls/2
	}
}

// part is the part of calls that was refused, if that is known.
func (r *refused) part() (part float64, known bool) {
	return float64(r.of) / float64(max(1, r.calls)), r.calls >= enoughCalls
}
