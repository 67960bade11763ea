package loadtest

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// mostKept is how many values a sample keeps; 8 MB of them.
const mostKept = 1_000_000

// sample is a set of times. Up to mostKept of them all are kept; of more, a random
// choice in which each has the same chance, by Vitter's algorithm R. The zero
// sample is empty.
type sample struct {
	kept []time.Duration
	seen int
	sum  float64 // of all, in seconds
}

func (s *sample) add(d time.Duration) {
	s.seen++
	s.sum += d.Seconds()
	if len(s.kept) < mostKept {
		s.kept = append(s.kept, d)
	} else if i := rand.IntN(s.seen); i < mostKept {
		s.kept[i] = d
	}
}

// times sum the sample up, all 0 if it is empty. It sorts what is kept.
func (s *sample) times() Times {
	if s.seen == 0 {
		return Times{}
	}
	slices.Sort(s.kept)
	return Times{
		Mean: millis(s.sum / float64(s.seen)),
		P50:  s.percentile(50), P95: s.percentile(95), P99: s.percentile(99),
	}
}

// percentile is the least time, in milliseconds, that p of 100 are not above: the
// nearest-rank method. The sample is sorted and not empty.
func (s *sample) percentile(p int) float64 {
	rank := (len(s.kept)*p + 99) / 100 // rounded up
	return millis(s.kept[rank-1].Seconds())
}

// millis makes seconds milliseconds, in whole microseconds.
func millis(seconds float64) float64 { return math.Round(seconds*1e6) / 1000 }
