package semantic

import (
	"maps"
	"slices"
	"sync"
)

// Buckets are the upper bounds of the histogram in Stats. They are closer where
// thresholds lie. Rounding may put two equal vectors a little above 1.
var Buckets = [...]float64{0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.01}

// Stats are numbers since a tally began.
type Stats struct {
	Hits    uint64 // questions answered from an earlier one
	Shadow  uint64 // questions that would have been, had the answer not only been looked for
	Refused map[Reason]uint64
	// Similarity counts the nearest match of each question that had one: in place i
	// those at most Buckets[i] and above the bucket before.
	Similarity [len(Buckets)]uint64
}

// Misses is how many questions were looked up and not answered.
func (s Stats) Misses() (n uint64) {
	for _, count := range s.Refused {
		n += count
	}
	return n
}

// Tally counts what has become of look-ups. The zero Tally is ready; all methods
// may be called from many goroutines.
type Tally struct {
	mu    sync.Mutex
	stats Stats
}

// Count counts a look-up whose nearest match has a similarity; with the reason None
// there was no match. In shadow an answer that was found is not served, only
// counted, to see what serving it would do.
func (t *Tally) Count(refused Reason, similarity float64, shadow bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case refused != "":
		if t.stats.Refused == nil {
			t.stats.Refused = make(map[Reason]uint64)
		}
		t.stats.Refused[refused]++
	case shadow:
		t.stats.Shadow++
	default:
		t.stats.Hits++
	}
	if refused != None {
		i, _ := slices.BinarySearch(Buckets[:], similarity)
		t.stats.Similarity[min(i, len(Buckets)-1)]++
	}
}

// Stats are the numbers so far.
func (t *Tally) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Refused = maps.Clone(s.Refused)
	return s
}
