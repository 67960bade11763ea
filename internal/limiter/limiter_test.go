package limiter_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/limiter"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// feed has a limiter observe n calls of the same kind.
func feed(l *limiter.Limiter, n int, s limiter.Sample) {
	for range n {
		l.Observe(start, s)
	}
}

// fast is a call in no time at all, while others wait: reason enough for more slots.
var fast = limiter.Sample{FirstToken: time.Millisecond, PerToken: time.Millisecond, Tokens: 10, Backlog: true}

func TestLimitStaysWithinItsBoundsWhateverItIsTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := limiter.Options{
			Min:     rapid.IntRange(0, 10).Draw(t, "min"),
			Initial: rapid.IntRange(0, 100).Draw(t, "initial"),
			Max:     rapid.IntRange(0, 100).Draw(t, "max"),
		}
		l, now := limiter.New(o), start
		least := max(o.Min, 1)
		most := max(o.Max, least)
		if o.Max == 0 {
			most = 64
		}
		duration := rapid.Int64Range(0, int64(time.Hour))
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if got := l.Limit(); got < least || got > most {
					t.Fatalf("limit %d, want %d to %d (%s)", got, least, most, l.Reason())
				}
			},
			"calls": func(t *rapid.T) {
				s := limiter.Sample{
					FirstToken: time.Duration(duration.Draw(t, "first")),
					PerToken:   time.Duration(duration.Draw(t, "per")),
					Tokens:     rapid.IntRange(0, 1000).Draw(t, "tokens"),
					InFlight:   rapid.IntRange(0, 8).Draw(t, "in flight"),
					Backlog:    rapid.Bool().Draw(t, "backlog"),
				}
				for range rapid.IntRange(1, 200).Draw(t, "n") {
					l.Observe(now, s)
				}
			},
			"overload": func(*rapid.T) { l.Observe(now, limiter.Sample{Overload: true}) },
			"idle": func(t *rapid.T) {
				now = now.Add(time.Duration(duration.Draw(t, "idle")))
				l.Idle(now)
			},
			"wanted": func(*rapid.T) { l.Wanted() },
		})
	})
}

func TestLimitGrowsOnlyWhileCallsWait(t *testing.T) {
	l, s := limiter.New(limiter.Options{}), fast
	s.Backlog = false
	feed(l, 1000, s)
	if got := l.Limit(); got != 4 {
		t.Errorf("with nobody waiting: limit %d, want 4 as in the beginning", got)
	}
	feed(l, 1000, fast)
	if got := l.Limit(); got != 64 && got != 48 { // 48 is the trial that follows
		t.Errorf("with others waiting: limit %d, want the most", got)
	}
}

func TestRefusedCallsHalveTheLimitOncePerBurst(t *testing.T) {
	l := limiter.New(limiter.Options{Initial: 16})
	feed(l, 16, limiter.Sample{Overload: true})
	if got := l.Limit(); got != 8 {
		t.Errorf("limit %d after the 16 calls of one burst, want 8", got)
	}
	if got, want := l.Reason(), "down from 16 to 8, since the host refused calls"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	feed(l, 1000, limiter.Sample{Overload: true})
	if got := l.Limit(); got != 1 {
		t.Errorf("limit %d of a host that refuses everything, want 1", got)
	}
}

func TestCallsThatAreRefusedWhateverTheLimitDoNotLowerIt(t *testing.T) {
	l, calls := limiter.New(limiter.Options{}), 0
	// ask has a host answer calls which refuses each tenth, and all that would be more than most at once.
	ask := func(n, most int) {
		for range n {
			calls++
			s := fast
			s.InFlight, s.Overload = l.Limit(), calls%10 == 0 || l.Limit() > most && calls%2 == 0
			l.Observe(start, s)
		}
	}
	ask(3000, 64)
	if got := l.Limit(); got < 32 {
		t.Errorf("limit %d of a host that refuses one in ten calls, however few there are at once (%s)", got, l.Reason())
	}
	ask(200, 8)
	if got := l.Limit(); got > 12 { // 12 is a trial
		t.Errorf("limit %d of a host that refuses more than 8 calls at once, and others at times (%s)", got, l.Reason())
	}
}

func TestLimitIsLeftAloneForAWhileAfterCallsWereRefused(t *testing.T) {
	l := limiter.New(limiter.Options{Initial: 16})
	feed(l, 1, limiter.Sample{Overload: true})
	feed(l, 100, fast)
	if got := l.Limit(); got != 8 {
		t.Errorf("limit %d after 100 calls, want 8 still (%s)", got, l.Reason())
	}
	feed(l, 200, fast)
	if got := l.Limit(); got <= 8 {
		t.Errorf("limit %d after 300 calls, want more than 8 tried (%s)", got, l.Reason())
	}
}

func TestCallsBeyondTheLimitSayNothingAboutIt(t *testing.T) {
	l, s := limiter.New(limiter.Options{}), fast
	s.InFlight = 5
	feed(l, 1000, s)
	if got := l.Limit(); got != 4 {
		t.Errorf("limit %d by calls of a time when there were more, want 4 as in the beginning", got)
	}
}

func TestLimitFallsBackToWhereItBeganAfterAMinuteWithoutCalls(t *testing.T) {
	l := limiter.New(limiter.Options{})
	feed(l, 1000, fast)
	before := l.Limit()
	for _, c := range []struct {
		idle time.Duration
		want int
	}{
		{59 * time.Second, before},
		{time.Minute, 4},
		{time.Hour, 4},
		{2 * time.Hour, 4},
	} {
		l.Idle(start.Add(c.idle))
		if got := l.Limit(); got != c.want {
			t.Errorf("idle for %v: limit %d, want %d", c.idle, got, c.want)
		}
	}
}

func TestWhatIdlenessHasLoweredIsThereAgainWhenItIsWanted(t *testing.T) {
	l := limiter.New(limiter.Options{})
	feed(l, 1000, fast)
	const learned = 64
	for day := range 3 {
		for hour := range 8 {
			l.Idle(start.Add(time.Duration(24*day+hour) * time.Hour))
		}
		if got := l.Limit(); got != 4 {
			t.Fatalf("limit %d of a host that was idle, want 4", got)
		}
		l.Wanted()
		if got := l.Limit(); got != learned {
			t.Fatalf("limit %d when calls wait, want %d as before (%s)", got, learned, l.Reason())
		}
		l.Wanted()
	}
	if got, want := l.Reason(), "up from 4 to 64 as before it was idle, since calls wait"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	l.Idle(start.Add(100 * time.Hour))
	feed(l, 1, limiter.Sample{Overload: true})
	l.Wanted()
	if got := l.Limit(); got != 2 {
		t.Errorf("limit %d of a host that has refused calls since, want 2", got)
	}
}

func TestWhatWasMeasuredBeforeAnIdleMinuteCountsNoMore(t *testing.T) {
	calls := 0 // until the limit changes
	for l := limiter.New(limiter.Options{}); l.Limit() == 4; calls++ {
		feed(l, 1, fast)
	}
	l := limiter.New(limiter.Options{})
	feed(l, calls-1, fast)
	l.Idle(start.Add(time.Minute))
	feed(l, 1, fast)
	if got := l.Limit(); got != 4 {
		t.Errorf("limit %d after a call, want a whole round before it changes (%s)", got, l.Reason())
	}
}

func TestReasonTellsTheLastChange(t *testing.T) {
	l := limiter.New(limiter.Options{})
	var reasons []string
	told := func() {
		if r := l.Reason(); len(reasons) == 0 || reasons[len(reasons)-1] != r {
			reasons = append(reasons, r)
		}
	}
	// A host that works on four calls at once, and queues the rest inside.
	for len(reasons) < 5 {
		told()
		s := fast
		s.FirstToken += time.Duration(max(0, l.Limit()-4)) * time.Second
		l.Observe(start, s)
	}
	for i, want := range []string{
		"4 to begin with",
		"trying 8 instead of 4, to see if more gets done",
		"back to 4, since 8 did no better",
		"trying 3 instead of 4, to see if as much gets done",
		"back to 4, since 3 did no better",
	} {
		if reasons[i] != want {
			t.Errorf("reason %d: got %q, want %q", i, reasons[i], want)
		}
	}
}

func TestObservingDoesNotAllocate(t *testing.T) {
	l := limiter.New(limiter.Options{})
	if got := testing.AllocsPerRun(1000, func() { feed(l, 10, fast) }); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}

func BenchmarkObserve(b *testing.B) {
	l := limiter.New(limiter.Options{})
	b.ReportAllocs()
	for b.Loop() {
		l.Observe(start, fast)
	}
}
