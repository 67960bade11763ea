package breaker_test

import (
	"testing"
	"time"

	"ollama-mcp/internal/breaker"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// unjittered is half of the way through the jitter, where it adds nothing.
func unjittered() float64 { return 0.5 }

// host is a breaker with a clock.
type host struct {
	*breaker.Breaker
	t   *testing.T
	now time.Time
}

func newHost(t *testing.T) *host { return &host{breaker.New(unjittered), t, start} }

// call makes a call that has to pass, and ends as given.
func (h *host) call(o breaker.Outcome) {
	h.t.Helper()
	pass, ok := h.Allow(h.now)
	if !ok {
		h.t.Fatalf("no call passes, state %v", h.State(h.now))
	}
	h.Record(h.now, pass, o)
}

func (h *host) calls(n int, o breaker.Outcome) {
	h.t.Helper()
	for range n {
		h.call(o)
	}
}

func (h *host) want(story string, state breaker.State) {
	h.t.Helper()
	if got := h.State(h.now); got != state {
		h.t.Errorf("%s: got %v, want %v", story, got, state)
	}
}

func TestHostIsPutOutByFailuresButNotByTheCallersOrItsLoadAlone(t *testing.T) {
	const (
		U, S, F, L, O = breaker.Undecided, breaker.Success, breaker.Failure, breaker.Slow, breaker.Soft
	)
	repeat := func(n int, outcomes ...breaker.Outcome) (all []breaker.Outcome) {
		for range n {
			all = append(all, outcomes...)
		}
		return all
	}
	for _, c := range []struct {
		story    string
		outcomes []breaker.Outcome
		want     breaker.State
	}{
		{"four failures in a row", repeat(4, F), breaker.Closed},
		{"five failures in a row", repeat(5, F), breaker.Open},
		{"five slow calls in a row", repeat(5, L), breaker.Open},
		{"failures and slow calls", []breaker.Outcome{F, L, F, L, F}, breaker.Open},
		{"a success between", []breaker.Outcome{F, F, F, F, S, F, F, F, F}, breaker.Closed},
		{"refusals between do not interrupt the row", []breaker.Outcome{F, O, F, O, F, O, F, O, F}, breaker.Open},
		{"cancelled calls between do not interrupt it either", []breaker.Outcome{F, U, F, U, F, U, F, U, F}, breaker.Open},
		{"any number of cancelled calls", repeat(100, U), breaker.Closed},
		{"nine refusals, too few to tell", repeat(9, O), breaker.Closed},
		{"ten refusals", repeat(10, O), breaker.Open},
		{"half of the calls refused", repeat(50, S, O), breaker.Closed},
		{"two of three refused", repeat(4, S, O, O), breaker.Open},
		{"every other call failed", repeat(50, S, F), breaker.Closed},
		{"successes long ago do not count", append(repeat(100, S), repeat(4, F, F, F, S)...), breaker.Open},
	} {
		h := newHost(t)
		for _, o := range c.outcomes {
			if pass, ok := h.Allow(h.now); ok {
				h.Record(h.now, pass, o)
			}
		}
		h.want(c.story, c.want)
	}
}

func TestOneCallAtATimeTriesAHostAfterItsRest(t *testing.T) {
	h := newHost(t)
	h.calls(5, breaker.Failure)
	if got := h.Until(); !got.Equal(start.Add(10 * time.Second)) {
		t.Errorf("rests until %v, want 10 s", got.Sub(start))
	}
	h.now = h.now.Add(10*time.Second - 1)
	if _, ok := h.Allow(h.now); ok || h.Ready(h.now) {
		t.Error("a call passes during the rest")
	}
	h.want("during its rest", breaker.Open)

	h.now = h.now.Add(1)
	h.want("after its rest", breaker.HalfOpen)
	probe, ok := h.Allow(h.now)
	if !ok {
		t.Fatal("no probe passes after the rest")
	}
	if _, ok := h.Allow(h.now); ok || h.Ready(h.now) {
		t.Error("two probes at a time")
	}
	h.Record(h.now, probe, breaker.Success)
	h.want("after a good probe", breaker.Closed)
	if !h.Until().IsZero() {
		t.Errorf("closed until %v, want no time", h.Until())
	}
}

func TestCancelledProbeDecidesNothingAndMakesRoomForAnother(t *testing.T) {
	h := newHost(t)
	h.calls(5, breaker.Failure)
	h.now = h.Until()
	h.call(breaker.Undecided)
	h.want("after a cancelled probe", breaker.HalfOpen)
	h.call(breaker.Success)
	h.want("after another", breaker.Closed)
}

func TestRefusedProbeFails(t *testing.T) {
	for _, o := range []breaker.Outcome{breaker.Soft, breaker.Slow, breaker.Failure} {
		h := newHost(t)
		h.calls(5, breaker.Failure)
		h.now = h.Until()
		h.call(o)
		h.want("after a probe that was no success", breaker.Open)
		if got := h.Until().Sub(h.now); got != 20*time.Second {
			t.Errorf("second rest is %v, want 20s", got)
		}
	}
}

func TestProbeThatNeverReportsIsReplacedAndMayStillSucceed(t *testing.T) {
	h := newHost(t)
	h.calls(5, breaker.Failure)
	h.now = h.Until()
	lost, _ := h.Allow(h.now)
	h.now = h.now.Add(time.Minute - 1)
	if h.Ready(h.now) {
		t.Error("a second probe passes before the first is over its time")
	}
	h.now = h.now.Add(1)
	second, ok := h.Allow(h.now)
	if !ok {
		t.Fatal("no second probe when the first is over its time")
	}
	h.Record(h.now, lost, breaker.Undecided)
	if h.Ready(h.now) {
		t.Error("the end of the first probe let a third pass beside the second")
	}
	h.Record(h.now, lost, breaker.Success)
	h.want("after the first probe succeeded late", breaker.Closed)
	h.Record(h.now, second, breaker.Failure)
	h.calls(4, breaker.Failure)
	h.want("after the second failed, and four calls", breaker.Closed)
}

func TestCallsFromBeforeAnEjectionSayNothingAfterIt(t *testing.T) {
	h := newHost(t)
	old, _ := h.Allow(h.now)
	h.calls(5, breaker.Failure)
	h.Record(h.now, old, breaker.Success)
	h.want("after a success of an old call", breaker.Open)

	h.now = h.Until()
	probe, _ := h.Allow(h.now)
	h.Record(h.now, old, breaker.Undecided)
	if h.Ready(h.now) {
		t.Error("the end of an old call let a second probe pass")
	}
	h.Record(h.now, old, breaker.Failure)
	h.want("after a failure of an old call", breaker.HalfOpen)
	h.Record(h.now, probe, breaker.Success)
	for range 20 {
		h.Record(h.now, old, breaker.Failure)
	}
	h.want("after failures of old calls", breaker.Closed)
}

func TestRestsGrowUpToFiveMinutesAndShrinkInGoodTime(t *testing.T) {
	h := newHost(t)
	h.calls(5, breaker.Failure)
	for n := 1; n <= 40; n++ {
		want := min(time.Duration(n)*10*time.Second, 300*time.Second)
		if got := h.Until().Sub(h.now); got != want {
			t.Fatalf("rest %d is %v, want %v", n, got, want)
		}
		h.now = h.Until()
		h.call(breaker.Failure)
	}
	h.now = h.Until()
	h.call(breaker.Success)
	h.now = h.now.Add(4 * time.Minute) // makes up for 24 of 30
	h.calls(5, breaker.Failure)
	if got := h.Until().Sub(h.now); got != 70*time.Second {
		t.Errorf("rest after four good minutes is %v, want 1m10s", got)
	}
}

func TestJitterChangesARestByAFifth(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: 8 * time.Second, 0.5: 10 * time.Second, 1: 12 * time.Second} {
		h := &host{breaker.New(func() float64 { return random }), t, start}
		h.calls(5, breaker.Failure)
		if got := h.Until().Sub(h.now); got != want {
			t.Errorf("with %v: rest of %v, want %v", random, got, want)
		}
	}
}

func TestGoodCheckEndsTheRestAndLetsAProbeDecide(t *testing.T) {
	h := newHost(t)
	h.Heal(h.now)
	h.want("a check of a host that is well", breaker.Closed)
	h.calls(5, breaker.Failure)
	h.Heal(h.now)
	h.want("after a good check", breaker.HalfOpen)
	h.call(breaker.Success)
	h.want("after a good probe", breaker.Closed)
}

func TestChecksAreNotBelievedTwiceUnlessACallSucceeded(t *testing.T) {
	h := newHost(t)
	h.calls(5, breaker.Failure)
	h.Heal(h.now)
	h.call(breaker.Slow) // answers checks, but no calls
	for n := 1; n <= 3; n++ {
		h.Heal(h.now)
		h.want("a check of a host that answers nothing else", breaker.Open)
		if got, want := h.Until().Sub(h.now), time.Duration(n)*10*time.Second; got != want {
			t.Errorf("rest %d since the check is %v, want %v", n, got, want)
		}
		h.now = h.Until()
		h.call(breaker.Slow)
	}
	h.now = h.Until()
	h.call(breaker.Success)
	h.calls(5, breaker.Failure)
	h.Heal(h.now)
	h.want("a check after a call succeeded", breaker.HalfOpen)
}

func BenchmarkRecord(b *testing.B) {
	h, now := breaker.New(nil), start
	b.ReportAllocs()
	for b.Loop() {
		pass, _ := h.Allow(now)
		h.Record(now, pass, breaker.Success)
	}
}
