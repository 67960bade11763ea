package retry_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/retry"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestBudgetIsAFloorAndAPartOfTheCallsOfTenSeconds(t *testing.T) {
	b := retry.NewBudget(0.2, 3)
	for _, c := range []struct {
		at          time.Duration
		calls, want int
	}{
		{0, 0, 3},
		{0, 4, 3},
		{time.Second, 6, 5},
		{9 * time.Second, 0, 5},
		{10 * time.Second, 0, 4}, // the first four calls are forgotten
		{11 * time.Second, 0, 3},
		{time.Hour, 100, 23},
	} {
		now := start.Add(c.at)
		for range c.calls {
			b.Call(now)
		}
		if got := b.Left(now); got != c.want {
			t.Errorf("after %v: %d left, want %d", c.at, got, c.want)
		}
	}
}

func TestRetriesTakenComeBackAfterTenSeconds(t *testing.T) {
	b := retry.NewBudget(0, 2)
	for i, want := range []bool{true, true, false} {
		if got := b.Take(start); got != want {
			t.Errorf("retry %d: got %v, want %v", i+1, got, want)
		}
	}
	if b.Take(start.Add(9 * time.Second)) {
		t.Error("a retry was taken after 9 s, want none before 10 s")
	}
	if !b.Take(start.Add(10 * time.Second)) {
		t.Error("no retry after 10 s")
	}
}

func TestRetriesNeverExceedTheFloorAndTheirPartOfTheCalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ratio := rapid.Float64Range(0, 1).Draw(t, "ratio")
		floor := rapid.IntRange(0, 5).Draw(t, "floor")
		b, now := retry.NewBudget(ratio, floor), start
		var calls, retries []time.Time

		// since counts the times in the last n seconds, the present one included.
		since := func(times []time.Time, n int64) (count int) {
			for _, at := range times {
				if at.Unix() > now.Unix()-n {
					count++
				}
			}
			return count
		}
		allowed := func() float64 { return float64(floor) + ratio*float64(since(calls, 10)) }
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if got := float64(since(retries, 10)); len(retries) > 0 && retries[len(retries)-1].Equal(now) && got > allowed() {
					t.Fatalf("%v retries in ten seconds, want at most %v", got, allowed())
				}
			},
			"call": func(*rapid.T) {
				b.Call(now)
				calls = append(calls, now)
			},
			"retry": func(t *rapid.T) {
				want := float64(since(retries, 10))+1 <= allowed()
				if got := b.Take(now); got != want {
					t.Fatalf("got %v, want %v: %d retries taken, %v allowed", got, want, since(retries, 10), allowed())
				}
				if want {
					retries = append(retries, now)
				}
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "wait")))
			},
		})
	})
}

func BenchmarkBudget(b *testing.B) {
	budget, now := retry.NewBudget(0.2, 3), start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(10 * time.Millisecond)
		budget.Call(now)
		budget.Take(now)
	}
}
