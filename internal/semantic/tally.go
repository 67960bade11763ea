package semantic

import (
	"maps"
	"slices"
	"sync"
)

// Buckets are the upper bounds of the histogram in Stats. They are denser where thresholds
// lie. The last one is above 1 because of rounding.
var Buckets = [...]float64{0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.01}

// Stats are counts since the tally was created.
type Stats struct {
	Hits    uint64 // questions answered from an earlier one
	Shadow  uint64 // questions that would have been, outside shadow mode
	Refused map[Reason]uint64
	// Similarity is a histogram of the similarity of each question's nearest match:
	// element i counts those above Buckets[i-1] and up to Buckets[i].
	Similarity [len(Buckets)]uint64
}

// Misses is the number of questions that were looked up and not answered.
func (s Stats) Misses() (n uint64) {
	for _, count := range s.Refused {
		n += count
	}
	return n
}

// Tally counts the outcomes of look-ups. The zero Tally is ready for use. Its methods are
// safe for concurrent use.
type Tally struct {
	mu    sync.Mutex
	stats Stats
}

// Count counts a look-up and the similarity of its nearest match, which is ignored for the
// reason None. In shadow mode an answer that was found is counted but not served.
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

// Stats returns the counts so far.
func (t *Tally) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Refused = maps.Clone(s.Refused)
	return s
}
