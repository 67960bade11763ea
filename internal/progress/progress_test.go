package progress

import (
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/route"
)

func TestProgressTellsByTheClockWhatACallWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var messages []string
		last := -1.0
		p := New(func(value float64, message string) {
			if value <= last {
				t.Errorf("%q: the value %v does not rise above %v", message, value, last)
			}
			last = value
			messages = append(messages, message)
		})
		var place atomic.Int64
		place.Store(3)
		p.Queued(func() route.Standing {
			at := int(place.Load())
			return route.Standing{Place: at, Of: 7, Expect: time.Duration(at) * 4 * time.Second}
		})
		time.Sleep(time.Second)
		place.Store(1)
		time.Sleep(2 * time.Second)
		p.Working("loading m on gpu-1")
		time.Sleep(2*time.Second + 5*time.Millisecond)
		onPiece := p.Answering()
		for range 80 {
			onPiece(backend.Piece{Thinking: "hm"})
			time.Sleep(25 * time.Millisecond)
		}
		onPiece(backend.Piece{Text: "yes"})
		time.Sleep(2 * time.Second)
		p.Stop()
		time.Sleep(time.Minute)

		want := []string{
			"queued, 3rd of 7, about 12 s",
			"queued, 1st of 7, about 4 s",
			"loading m on gpu-1 (2 s)",
			"60 tokens, 39/s, thinking",
			"81 tokens, 23/s",
		}
		if !reflect.DeepEqual(messages, want) {
			t.Errorf("got  %q\nwant %q", messages, want)
		}
	})
}

func TestFailureOfAHostIsToldAndWhenTheNextTryBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(nil)
		p.Retrying(route.Retry{Host: "gpu-1", In: 3 * time.Second})
		for _, c := range []struct {
			later time.Duration
			want  string
		}{
			{0, "gpu-1 failed; trying again in 3 s"},
			{2500 * time.Millisecond, "gpu-1 failed; trying again in 1 s"},
			{500 * time.Millisecond, "gpu-1 failed; trying again"},
		} {
			time.Sleep(c.later)
			if got := p.Message(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		}
	})
}

func TestQuickCallReportsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(func(_ float64, message string) { t.Errorf("reported %q", message) })
		time.Sleep(100 * time.Millisecond)
		p.Stop()
		p.Stop() // a second time does nothing
		time.Sleep(time.Minute)
	})
}

func TestOrdinals(t *testing.T) {
	for n, want := range map[int]string{1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 111: "111th", 122: "122nd"} {
		if got := ordinal(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}
