package limiter

import (
	"cmp"
	"slices"
	"time"
)

// usual is how long calls take at the limit that is not on trial: what samples are measured
// by, so that answers of any length can be compared.
type usual struct {
	samples            int
	first, per, tokens float64 // moving means, in seconds and tokens
}

const (
	// memory is how many samples a usual looks back on, roughly.
	memory = 100
	// known is how many samples it takes to know well enough what is usual.
	known = 16
	// usualTokens is the length of an answer where nobody counts tokens.
	usualTokens = 100
)

func (u *usual) learn(s Sample) {
	u.samples++
	weight := 1 / float64(min(u.samples, memory))
	u.first += weight * (s.FirstToken.Seconds() - u.first)
	u.per += weight * (s.PerToken.Seconds() - u.per)
	tokens := float64(s.Tokens)
	if tokens <= 0 {
		tokens = usualTokens
	}
	u.tokens += weight * (tokens - u.tokens)
}

// took is how long the call had its slot.
func (s Sample) took() time.Duration {
	return cmp.Or(s.Took, s.FirstToken+time.Duration(s.Tokens)*s.PerToken)
}

// slowness is the time that a call of usual length would have taken at the pace of a
// sample, as a part of the usual time.
func (u *usual) slowness(s Sample) float64 {
	took := s.FirstToken.Seconds() + u.tokens*s.PerToken.Seconds()
	return max(took, 1e-9) / max(u.first+u.tokens*u.per, 1e-9)
}

// speed is the slowness of calls at a limit, by so many rounds.
type speed struct {
	limit    int
	slowness float64
	rounds   int
}

// rate is what a host gets done at a limit that is always reached, in any unit: by
// Little's law, the calls there are over the time of each.
func (s speed) rate() float64 { return float64(s.limit) / max(s.slowness, 1e-9) }

// steady is how many rounds a speed looks back on, roughly.
const steady = 4

// and takes in a further round at the same limit.
func (s speed) and(other speed) speed {
	rounds := min(s.rounds+1, steady)
	return speed{other.limit, s.slowness + (other.slowness-s.slowness)/float64(rounds), rounds}
}

// round collects the slowness of calls at one limit.
type round struct {
	n       int
	samples [64]float64
}

func (r *round) add(slowness float64) {
	r.samples[r.n] = slowness
	r.n++
}

// full reports whether there are enough samples: 32 tell apart rates that differ by a
// sixth, when single times differ by a third, and each slot should have had a turn.
func (r *round) full(limit int) bool { return r.n >= min(max(32, limit), len(r.samples)) }

// end is the mean without the lowest and the highest quarter, which a few odd calls do
// not move. It empties the round.
func (r *round) end() float64 {
	slices.Sort(r.samples[:r.n])
	middle := r.samples[r.n/4 : r.n-r.n/4]
	r.n = 0
	var sum float64
	for _, s := range middle {
		sum += s
	}
	return sum / float64(len(middle))
}
