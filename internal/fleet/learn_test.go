package fleet_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/fleet"
)

func TestChangeOfAHostIsKnownAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fleet.Options{})
		w.set(spec("a"), spec("b"))
		synctest.Wait()
		for _, change := range []struct {
			do   func()
			want bool
		}{
			{func() { w.machine("a").Install(newModel) }, true},
			{func() { w.machine("a").Remove("new:1b") }, false},
			{func() { w.machine("a").Install(newModel) }, true}, // within the second that calls wait between two lists
		} {
			change.do()
			began := time.Now()
			w.Learn(t.Context(), "a")
			if w.MayHave("new:1b", "a") != change.want || w.MayHave("new:1b", "b") || time.Since(began) > 0 {
				t.Errorf("after %v the model is known to be on a: %v, want %v", time.Since(began), !change.want, change.want)
			}
			if told := w.latest("a").Facts; slices.Contains(told.Installed, "new:1b") != change.want || told.Loaded == nil {
				t.Errorf("the pool was told %+v", told)
			}
		}
		observe(w.machine("a"), hangsListing)
		began := time.Now()
		w.Learn(t.Context(), "a")
		w.Learn(t.Context(), "nothere")
		if took := time.Since(began); took != 2*time.Second || !w.MayHave("new:1b", "a") {
			t.Errorf("a host that hangs held it for %v, or was forgotten", took)
		}
	})
}
