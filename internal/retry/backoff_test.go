package retry_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"ollama-mcp/internal/retry"
)

func TestBackoffIsAnyPartOfATimeThatDoublesUpToFiveSeconds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		attempt int
		most    time.Duration
	}{
		{0, 250 * time.Millisecond},
		{1, 250 * time.Millisecond},
		{2, 500 * time.Millisecond},
		{5, 4 * time.Second},
		{6, 5 * time.Second},
		{1000, 5 * time.Second},
	} {
		shortest, longest := time.Hour, time.Duration(0)
		for range 1000 {
			d := retry.Backoff(c.attempt, 0, rnd)
			shortest, longest = min(shortest, d), max(longest, d)
		}
		if shortest < 0 || shortest > c.most/50 || longest > c.most || longest < c.most*49/50 {
			t.Errorf("attempt %d: from %v to %v, want from 0 to %v", c.attempt, shortest, longest, c.most)
		}
	}
}

func TestBackoffComesOnTopOfWhatTheHostAskedFor(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		if d := retry.Backoff(1, time.Minute, rnd); d < time.Minute || d > time.Minute+250*time.Millisecond {
			t.Fatalf("got %v, want a minute and up to 250 ms", d)
		}
	}
}
