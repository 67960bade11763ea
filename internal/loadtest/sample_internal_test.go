package loadtest

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestPercentilesAreExact(t *testing.T) {
	var s sample
	for _, i := range rand.Perm(1000) {
		s.add(time.Duration(i+1) * time.Millisecond)
	}
	if got, want := s.times(), (Times{Mean: 500.5, P50: 500, P95: 950, P99: 990}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestPercentilesOfOneAreThatOne(t *testing.T) {
	var s sample
	s.add(7 * time.Millisecond)
	if got, want := s.times(), (Times{Mean: 7, P50: 7, P95: 7, P99: 7}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSampleStaysBoundedAndFairToLateValues(t *testing.T) {
	var s sample
	for i := range 2 * mostKept {
		s.add(time.Duration(i) * time.Microsecond) // a ramp: keeping the first only would halve the median
	}
	if len(s.kept) != mostKept || s.seen != 2*mostKept {
		t.Errorf("kept %d of %d, want %d of %d", len(s.kept), s.seen, mostKept, 2*mostKept)
	}
	// The standard error of the median of a million is 0.05 % of the range.
	if got := s.times().P50; got < 990 || got > 1010 {
		t.Errorf("got a median of %v ms, want 1000", got)
	}
}
