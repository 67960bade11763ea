package budget_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/budget"
	"ollama-mcp/internal/tally"
)

// replicas are a pretend store of what several replicas have spent.
type replicas struct {
	granted int // calls that may still be made
	down    bool
	told    tally.Spending
}

func (r *replicas) Replicas() int { return 4 }

func (r *replicas) Spend(s tally.Spending) (got tally.Spent, ok bool) {
	if r.down {
		return got, false
	}
	r.told = s
	got.Granted = min(s.Want, r.granted)
	r.granted -= got.Granted
	got.Others = map[string]tally.Count{"another": {Calls: s.Limits.Calls - r.granted - s.Own.Calls - got.Granted}}
	return got, true
}

func TestBudgetOfAProviderHoldsOnAllReplicasTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &replicas{granted: 2}
		ledger, err := budget.Open(filepath.Join(t.TempDir(), "budget.json"), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		var spent []time.Duration
		ledger.Tally = tally.New(shared)
		ledger.OnSpent = func(_ string, until time.Time) { spent = append(spent, time.Until(until)) }
		cloud := &host{name: "cloud", tokens: 7}
		guarded := ledger.Guard(cloud, budget.Limits{Calls: 60})
		for range 2 {
			if err := ask(t, guarded); err != nil {
				t.Fatal(err)
			}
		}
		retryAfter := func() time.Duration {
			t.Helper()
			e, ok := errors.AsType[*backend.Error](ask(t, guarded))
			if !ok || e.Class != backend.Overload {
				t.Fatalf("got %v, want that the budget is used up", e)
			}
			return e.RetryAfter
		}
		if d := retryAfter(); d != 24*time.Hour || len(spent) != 1 || spent[0] != d {
			t.Errorf("with all calls spent the provider may be asked after %v; the alerts were told %v", d, spent)
		}
		synctest.Wait()
		if cloud.calls != 2 || shared.told.Name != "provider cloud" || shared.told.Own != (tally.Count{Calls: 2, Tokens: 14}) {
			t.Errorf("the provider was asked %d times, and the replicas were told %+v", cloud.calls, shared.told)
		}

		shared.granted = 1
		cloud.err = &backend.Error{Host: "cloud", Class: backend.Transport}
		if err := ask(t, guarded); !errors.Is(err, backend.Transport) {
			t.Fatalf("got %v", err)
		}
		synctest.Wait()
		if shared.told.Own.Calls != 2 {
			t.Errorf("a call that came nowhere was counted: the replicas were told %+v", shared.told)
		}

		shared.down = true
		cloud.err = nil
		for ask(t, guarded) == nil {
		}
		if d := retryAfter(); d > time.Minute || len(spent) != 1 {
			t.Errorf("with the part of one replica spent the provider may be asked after %v; the alerts were told %v", d, spent)
		}
	})
}
