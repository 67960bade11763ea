package remote

import (
	"math"
	"net/http"
	"strconv"
	"testing"
	"time"
)

func TestTimeToWaitIsReadInEachForm(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		after, millis, date string
		want                time.Duration
	}{
		{after: "7", want: 7 * time.Second},
		{after: "1.5", want: 1500 * time.Millisecond},
		{after: " 0.25 ", want: 250 * time.Millisecond},
		{millis: "46000", want: 46 * time.Second},
		{millis: "1500.5", want: 1500500 * time.Microsecond},
		{after: "46", millis: "45210", want: 45210 * time.Millisecond},
		{after: "46", millis: "soon", want: 46 * time.Second},
		{after: date(90 * time.Second), date: date(0), want: 90 * time.Second},
		{after: date(-time.Hour), date: date(-2 * time.Hour), want: time.Hour}, // by the host's clock
		{after: date(-time.Hour), date: date(0), want: 0},
		{after: now.Add(time.Minute).Format(time.RFC850), date: date(0), want: time.Minute},
		{after: now.Add(time.Minute).Format(time.ANSIC), date: date(0), want: time.Minute},
		{after: "1e300", want: 0},
		{after: "-3", want: 0},
		{after: "Inf", want: 0},
		{after: "NaN", want: 0},
		{after: "soon", want: 0},
		{after: date(20 * longestWait), date: date(0), want: 0},
		{want: 0},
	} {
		h := make(http.Header)
		for name, value := range map[string]string{"Retry-After": c.after, "retry-after-ms": c.millis, "Date": c.date} {
			if value != "" {
				h.Set(name, value)
			}
		}
		if got := retryAfter(h); got != c.want {
			t.Errorf("%v: got %v, want %v", h, got, c.want)
		}
	}
}

func FuzzTimeToWait(f *testing.F) {
	for _, value := range []string{"", "7", "1.5", "-1", "1e400", "Inf", "0x1p-2", "Sun, 06 Nov 1994 08:49:37 GMT", "soon", "9223372037"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := retryAfter(http.Header{"Retry-After": {value}})
		if got < 0 || got > longestWait {
			t.Fatalf("%q: %v", value, got)
		}
		if n, err := strconv.Atoi(value); err == nil && n >= 0 && n < int(longestWait/time.Second) && got != time.Duration(n)*time.Second {
			t.Fatalf("%q: %v", value, got)
		}
		if millis := retryAfter(http.Header{"Retry-After-Ms": {value}}); got > 0 && got < longestWait && millis > 0 &&
			math.Abs(float64(got)/1000-float64(millis)) > 1 {
			t.Fatalf("%q: %v as seconds and %v as milliseconds", value, got, millis)
		}
	})
}
