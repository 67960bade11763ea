package route_test

import (
	"testing"
	"time"

	"ollama-mcp/internal/route"
)

func TestLatencyJumpsUpAndDecaysDown(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var e route.EWMA
	if got := e.Value(start); got != 0 {
		t.Errorf("nothing seen: got %v, want 0", got)
	}
	e.Observe(start, 2*time.Second)
	for _, c := range []struct {
		story string
		after time.Duration
		see   time.Duration // sample to take in then; 0 for none
		want  time.Duration
	}{
		{"at once", 0, 0, 2 * time.Second},
		{"a higher sample counts in full", time.Second, 10 * time.Second, 10 * time.Second},
		{"a lower one does not hide it", 0, time.Second, 10 * time.Second},
		{"ten seconds later 1/e is left", 10 * time.Second, 0, 3679 * time.Millisecond},
		{"a minute later the lower one counts", time.Minute, time.Second, time.Second},
		{"ten minutes later all is forgotten", 10 * time.Minute, 0, 0},
	} {
		start = start.Add(c.after)
		if c.see > 0 {
			e.Observe(start, c.see)
		}
		if got := e.Value(start).Round(time.Millisecond); got != c.want {
			t.Errorf("%s: got %v, want %v", c.story, got, c.want)
		}
	}
}

func TestFailureCountsAsALongCall(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var e route.EWMA
	e.Observe(now, time.Millisecond)
	e.Fail(now)
	if got := e.Value(now); got != 30*time.Second {
		t.Errorf("after a failure: got %v, want 30s", got)
	}
	e.Observe(now, time.Minute)
	e.Fail(now)
	if got := e.Value(now); got != time.Minute {
		t.Errorf("a failure of a slow host: got %v, want 1m0s as before", got)
	}
}
