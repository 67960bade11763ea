package limiter

import (
	"strconv"
	"testing"
	"time"
)

func TestModelsThatAreRememberedAreBounded(t *testing.T) {
	l := New(Options{})
	for i := range 10 * mostModels {
		l.Observe(time.Time{}, Sample{Model: strconv.Itoa(i), FirstToken: time.Second, Backlog: true})
		if len(l.models) > mostModels {
			t.Fatalf("%d models are remembered, want at most %d", len(l.models), mostModels)
		}
	}
}
