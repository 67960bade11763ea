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

func TestTimeUntilALimitIsResetIsReadInEachForm(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	in := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
	since1970 := func(d time.Duration, unit time.Duration) string {
		return strconv.FormatInt(now.Add(d).UnixNano()/int64(unit), 10)
	}
	for name, c := range map[string]struct {
		headers map[string]string
		want    time.Duration
	}{
		"nothing":                    {nil, 0},
		"OpenAI":                     {map[string]string{"x-ratelimit-reset-requests": "1m30s"}, 90 * time.Second},
		"milliseconds":               {map[string]string{"x-ratelimit-reset-tokens": "250ms"}, 250 * time.Millisecond},
		"the IETF's draft":           {map[string]string{"RateLimit-Reset": "46"}, 46 * time.Second},
		"another name":               {map[string]string{"X-Rate-Limit-Reset": "46.5"}, 46500 * time.Millisecond},
		"Anthropic":                  {map[string]string{"anthropic-ratelimit-tokens-reset": in(46 * time.Second)}, 46 * time.Second},
		"with an offset":             {map[string]string{"anthropic-ratelimit-tokens-reset": now.Add(46 * time.Second).In(time.FixedZone("", 7200)).Format(time.RFC3339)}, 46 * time.Second},
		"seconds since 1970":         {map[string]string{"x-ratelimit-reset": since1970(46*time.Second, time.Second)}, 46 * time.Second},
		"milliseconds since 1970":    {map[string]string{"x-ratelimit-reset": since1970(46*time.Second, time.Millisecond)}, 46 * time.Second},
		"the limit that is reached":  {map[string]string{"x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-tokens": "46s", "x-ratelimit-remaining-tokens": "0"}, 46 * time.Second},
		"the last of those":          {map[string]string{"x-ratelimit-reset-requests": "1h", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-tokens": "46s", "x-ratelimit-remaining-tokens": "0"}, time.Hour},
		"the first, if none is told": {map[string]string{"x-ratelimit-reset-requests": "24h", "x-ratelimit-reset-tokens": "46s"}, 46 * time.Second},
		"none is reached":            {map[string]string{"x-ratelimit-reset-requests": "46s", "x-ratelimit-remaining-requests": "3"}, 0},
		"the past":                   {map[string]string{"x-ratelimit-reset": since1970(-time.Hour, time.Second)}, 0},
		"the far future":             {map[string]string{"x-ratelimit-reset": in(20 * longestWait)}, 0},
		"a word":                     {map[string]string{"x-ratelimit-reset": "soon"}, 0},
		"a negative number":          {map[string]string{"x-ratelimit-reset": "-46", "ratelimit-reset": "-46s"}, 0},
		"no number":                  {map[string]string{"x-ratelimit-reset": "NaN", "ratelimit-reset": "Inf"}, 0},
		"another header":             {map[string]string{"x-ratelimit-limit": "46", "x-reset": "46"}, 0},
	} {
		h := http.Header{"Date": {now.Format(http.TimeFormat)}}
		for name, value := range c.headers {
			h.Set(name, value)
		}
		if got := limitReset(h); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
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
		reset := limitReset(http.Header{"X-Ratelimit-Reset": {value}})
		if reset < 0 || reset > longestWait {
			t.Fatalf("%q: a limit is reset in %v", value, reset)
		}
		if n, err := strconv.Atoi(value); err == nil && n >= 0 && n < 1e9 && reset != got {
			t.Fatalf("%q: %v to wait, and %v until a reset", value, got, reset)
		}
		if millis := retryAfter(http.Header{"Retry-After-Ms": {value}}); got > 0 && got < longestWait && millis > 0 &&
			math.Abs(float64(got)/1000-float64(millis)) > 1 {
			t.Fatalf("%q: %v as seconds and %v as milliseconds", value, got, millis)
		}
	})
}
