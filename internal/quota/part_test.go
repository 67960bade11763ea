package quota_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/quota"
)

func beginPart(q *quota.Quota, c caller.Caller, others int) (end func(), wait time.Duration) {
	end, err := q.BeginPart(c, others)
	if exceeded, ok := errors.AsType[*quota.Exceeded](err); ok {
		return nil, exceeded.RetryAfter
	}
	return end, 0
}

func TestPartsOfACallLeaveAPlaceInFlightForAnother(t *testing.T) {
	for limit, want := range map[int]int{1: 1, 2: 1, 3: 2, 8: 7} {
		var q quota.Quota
		c := limited(caller.Limits{InFlight: limit})
		defer begin(t, &q, c)()
		parts := 0
		for {
			end, wait := beginPart(&q, c, parts)
			if wait > 0 {
				break
			}
			defer end()
			parts++
		}
		if parts != want {
			t.Errorf("with a limit of %d, %d parts are in flight, want %d", limit, parts, want)
		}
		if limit > 1 {
			begin(t, &q, c)()
		}
	}
}

func TestPartsOfACallLeaveOneOfTheRateForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q quota.Quota
		c := limited(caller.Limits{PerSecond: 2, Burst: 3})
		begin(t, &q, c)()
		if _, wait := beginPart(&q, c, 0); wait != 0 {
			t.Errorf("the first part waits %v, with two calls left", wait)
		}
		if _, wait := beginPart(&q, c, 0); wait != 500*time.Millisecond {
			t.Errorf("the second part waits %v, want 500ms until two calls are left again", wait)
		}
		begin(t, &q, c)() // which is why
		time.Sleep(time.Second)
		if _, wait := beginPart(&q, c, 0); wait != 0 {
			t.Errorf("a second later a part waits %v", wait)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var q quota.Quota
		c := limited(caller.Limits{PerSecond: 1}) // nothing can be left of one
		n := 0
		for began := time.Now(); time.Since(began) < 10*time.Second; {
			if _, wait := beginPart(&q, c, 0); wait > 0 {
				time.Sleep(wait)
			} else {
				n++
			}
		}
		if n != 10 {
			t.Errorf("%d parts begin in 10 s at one a second", n)
		}
	})
}
