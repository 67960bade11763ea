package route_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/route"
)

// tell records outcomes: a for answered, b for busy, f for failed.
func tell(h *route.Health, now time.Time, outcomes string) (changes int) {
	for _, o := range outcomes {
		outcome := map[rune]route.Outcome{'a': route.Answered, 'b': route.Busy, 'f': route.Failed}[o]
		if h.Record(now, outcome, string(o)) {
			changes++
		}
	}
	return changes
}

func TestLadderChangesItsStateOnlyAfterSeveralOutcomes(t *testing.T) {
	for _, c := range []struct {
		outcomes string
		want     route.State
	}{
		{"", route.Normal},
		{"ff", route.Normal},
		{"ffaff", route.Normal},
		{"bb", route.Normal},
		{"bbb", route.Overloaded},
		{"bfb", route.Overloaded},
		{"fff", route.Degraded},
		{"bbbaaaa", route.Overloaded},
		{"bbbaaaaa", route.Normal},
		{"bbbfff", route.Degraded},
		{"fffbf", route.Degraded},
		{"fffa", route.Recovering},
		{"fffaaaaa", route.Recovering},
		{"fffaf", route.Degraded},
		{"fffaaaaaa", route.Normal},
	} {
		var h route.Health
		tell(&h, time.Time{}, c.outcomes)
		if got, _, _ := h.State(); got != c.want {
			t.Errorf("%q: got %s, want %s", c.outcomes, got, c.want)
		}
	}
}

func TestFirstRungThatFailsIsAskedNowAndThen(t *testing.T) {
	var h route.Health
	now := time.Unix(1, 0)
	tell(&h, now, "fff")
	asked := 0
	for range 100 { // over 10 s
		now = now.Add(100 * time.Millisecond)
		if h.TryFirst(now) {
			asked++
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times in 10 s, want 2", asked)
	}
	tell(&h, now, "a")
	asked = 0
	for range 100 {
		if h.TryFirst(now) {
			asked++
		}
	}
	if asked != 25 {
		t.Errorf("while it recovers, %d calls of 100 ask it, want 25", asked)
	}
}

func TestStateTellsWhyAndSinceWhen(t *testing.T) {
	var h route.Health
	began := time.Unix(100, 0)
	h.Record(began, route.Failed, "gpu-1: unreachable")
	h.Record(began, route.Failed, "gpu-1: unreachable")
	h.Record(began.Add(time.Second), route.Failed, "gpu-1: failed")
	state, since, reason := h.State()
	if state != route.Degraded || !since.Equal(began.Add(time.Second)) || reason != "gpu-1: failed" {
		t.Errorf("got %s since %v: %s", state, since, reason)
	}
}

// Whatever happens, a first rung that answers from now on is the one that answers
// all calls in the end, and one that is not is left alone.
func TestAnyLadderRecoversAndAnyLadderGivesUp(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var h route.Health
		now := time.Unix(1, 0)
		tell(&h, now, strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "f"}), 0, 50).Draw(r, "past"), ""))
		live := func(outcome route.Outcome) {
			for range 200 {
				now = now.Add(time.Second)
				if h.TryFirst(now) {
					h.Record(now, outcome, "")
				}
			}
		}
		live(route.Failed)
		if state, _, _ := h.State(); state != route.Degraded {
			r.Fatalf("after 200 s of failure: %s", state)
		}
		live(route.Answered)
		if state, _, _ := h.State(); state != route.Normal || !h.TryFirst(now) {
			r.Fatalf("after 200 s in good health: %s", state)
		}
	})
}
