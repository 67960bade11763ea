package quota_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/quota"
)

func limited(l caller.Limits) caller.Caller { return caller.Caller{ID: "ci", Limits: l} }

// begin counts a call that must be allowed.
func begin(t *testing.T, q *quota.Quota, c caller.Caller) (end func()) {
	t.Helper()
	end, err := q.Begin(c)
	if err != nil {
		t.Fatalf("a call within the limits: %v", err)
	}
	return end
}

func refused(t *testing.T, q *quota.Quota, c caller.Caller) *quota.Exceeded {
	t.Helper()
	_, err := q.Begin(c)
	exceeded, ok := errors.AsType[*quota.Exceeded](err)
	if !ok {
		t.Fatalf("a call beyond the limits: got %v, want Exceeded", err)
	}
	return exceeded
}

func TestCallsBeginNoFasterThanTheirRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q quota.Quota
		c := limited(caller.Limits{PerSecond: 0.5, Burst: 2})
		begin(t, &q, c)()
		begin(t, &q, c)()
		if e := refused(t, &q, c); e.RetryAfter != 2*time.Second {
			t.Errorf("the third call may come after %v, want 2s", e.RetryAfter)
		}
		time.Sleep(2 * time.Second)
		begin(t, &q, c)()
		refused(t, &q, c)
	})
}

func TestRefusedCallCostsNothingOfTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q quota.Quota
		c := limited(caller.Limits{PerSecond: 1})
		begin(t, &q, c)()
		for range 10 {
			refused(t, &q, c)
		}
		time.Sleep(time.Second)
		begin(t, &q, c)()
	})
}

func TestNoMoreCallsInFlightThanTheLimit(t *testing.T) {
	var q quota.Quota
	c := limited(caller.Limits{InFlight: 2})
	end := begin(t, &q, c)
	begin(t, &q, c)
	if e := refused(t, &q, c); e.Limit != "2 calls in flight" {
		t.Errorf("refused for %q, want 2 calls in flight", e.Limit)
	}
	end()
	begin(t, &q, c)
	refused(t, &q, c)
}

func TestOneCallerDoesNotUseUpWhatIsAnothers(t *testing.T) {
	var q quota.Quota
	begin(t, &q, limited(caller.Limits{InFlight: 1}))
	begin(t, &q, caller.Caller{ID: "other", Limits: caller.Limits{InFlight: 1}})
	begin(t, &q, caller.Caller{}) // has no limits at all
	begin(t, &q, caller.Caller{})
}

func TestChangedLimitsHoldFromTheNextCallOn(t *testing.T) {
	var q quota.Quota
	begin(t, &q, limited(caller.Limits{InFlight: 1}))
	begin(t, &q, limited(caller.Limits{InFlight: 2}))
	refused(t, &q, limited(caller.Limits{InFlight: 2}))
}

func TestCallersAtRestAreForgottenAndNoOthers(t *testing.T) {
	var q quota.Quota
	busy := limited(caller.Limits{InFlight: 1})
	begin(t, &q, busy)
	for i := range 10_000 {
		begin(t, &q, caller.Caller{ID: fmt.Sprint(i), Limits: caller.Limits{InFlight: 1}})()
	}
	if n := q.Known(); n > 1024 {
		t.Errorf("%d callers are remembered, want at most 1024", n)
	}
	refused(t, &q, busy)
}
