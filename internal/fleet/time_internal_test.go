package fleet

import (
	"strings"
	"testing"
	"time"
)

// The monotonic clock stops while a machine sleeps, and cannot be made to in a test.
func TestTimesThatExpireGoByTheWallClock(t *testing.T) {
	if strings.Contains(wallTime().String(), "m=") {
		t.Error("wallTime has a reading of the monotonic clock")
	}
	now := time.Now()
	for want, since := range map[bool][]time.Time{
		true:  {{}, now.Add(-time.Minute), now.Add(time.Hour)}, // never, long ago, and a clock that was set back
		false: {now, now.Add(-time.Second)},
	} {
		for _, then := range since {
			if got := overdue(then.Round(0), 30*time.Second); got != want {
				t.Errorf("since %v: overdue is %v, want %v", then, got, want)
			}
		}
	}
}
