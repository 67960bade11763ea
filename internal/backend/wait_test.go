package backend_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/backend"
)

// waits are bodies of servers that refuse a request for a while, and the time that they name.
var waits = map[string]time.Duration{
	// Google
	`{"error":{"code":429,"message":"You exceeded your current quota. Please retry in 46.073457s.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"46s"}]}}`: 46 * time.Second,
	`[{"error":{"code":429,"message":"Resource exhausted","details":[{"retryDelay": "1.5s"}]}}]`:                                                                                                                        1500 * time.Millisecond,
	`{"error":{"message":"Please retry in 46.5s."}}`: 46500 * time.Millisecond,
	// OpenAI, Groq
	`Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 1.2s. Visit https://x to learn more.`: 1200 * time.Millisecond,
	`{"error":{"message":"Rate limit reached. Limit: 3 / min. Please try again in 20ms.","code":"rate_limit_exceeded"}}`:                                                             20 * time.Millisecond,
	`Please try again in 6m0s.`:    6 * time.Minute,
	`Please try again in 7m11.52s`: 7*time.Minute + 11520*time.Millisecond,
	`Please try again in 1h2m3.5s`: time.Hour + 2*time.Minute + 3500*time.Millisecond,
	// Azure, Cohere, Cloudflare and others
	`Requests have exceeded call rate limit. Please retry after 26 seconds. Please go to https://x`: 26 * time.Second,
	`{"retry_after": 5}`:                           5 * time.Second,
	`{"error":{"retry_after":"0.25"}}`:             250 * time.Millisecond,
	`{"retry_after_ms": 750}`:                      750 * time.Millisecond,
	`{"retryAfterSeconds": 12}`:                    12 * time.Second,
	`{"retry-after":"2 minutes"}`:                  2 * time.Minute,
	`Too many requests: wait 30 secs before retry`: 30 * time.Second,
	`please wait at least 2 minutes and 5 seconds`: 125 * time.Second,
	`The limit resets in 3 hours.`:                 3 * time.Hour,
	`RETRY AFTER: 10 SECONDS`:                      10 * time.Second,
	`available again in about 2 days`:              48 * time.Hour,
	// Hugging Face, while it loads a model
	`{"error":"Model x is currently loading","estimated_time":20.5}`: 20500 * time.Millisecond,
	// none
	``: 0, `slow down`: 0, `Please try again later`: 0, `Limit: 3 / 1 min. Try again.`: 0, `try again in 5 messages`: 0,
	`Please try again in a few seconds`: 0, `retry with 5 s`: 0, `{"retry_after":null}`: 0, `{"retry_after":"soon"}`: 0,
	`try again in 99999999999999999999h`: 0, `{"retryDelay":"1e9s"}`: 0, `try again in 5`: 0, `{"retry_after":-5}`: 0,
}

func TestTimeToWaitIsReadFromABody(t *testing.T) {
	for body, want := range waits {
		quoted, _ := json.Marshal(body) // strings always can be
		for _, wrapped := range []string{body, `{"error":{"message":` + string(quoted) + `,"code":429}}`} {
			if got := backend.RestTime(backend.Overload, wrapped); got != want {
				t.Errorf("%s: got %v, want %v", wrapped, got, want)
			}
			for _, class := range []backend.Class{backend.Request, backend.Server, backend.TooLong, ""} {
				if got := backend.RestTime(class, wrapped); got != 0 {
					t.Errorf("%s of class %q: got %v, want none", wrapped, class, got)
				}
			}
		}
	}
}

func TestTimeToWaitIsReadInEachUnit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := time.Duration(rapid.Int64Range(1, int64(100*time.Hour/time.Millisecond)).Draw(t, "milliseconds")) * time.Millisecond
		for _, said := range []string{
			"try again in " + want.String(), fmt.Sprintf("retry after %d ms", want.Milliseconds()),
			fmt.Sprintf(`{"retryDelay":"%.3fs"}`, want.Seconds()), fmt.Sprintf(`{"retry_after_ms":%d}`, want.Milliseconds()),
			fmt.Sprintf("please wait %d minutes, %d milliseconds", int(want.Minutes()), (want % time.Minute).Milliseconds()),
		} {
			if got := backend.RestTime(backend.Overload, said); got != want {
				t.Errorf("%s: got %v, want %v", said, got, want)
			}
		}
	})
}

func FuzzTimeToWait(f *testing.F) {
	for body := range waits {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got := backend.RestTime(backend.Overload, body)
		if got < 0 || got > 365*24*time.Hour {
			t.Errorf("got %v", got)
		}
		if got != 0 && !strings.ContainsAny(body, "0123456789") {
			t.Errorf("got %v from a text without a number", got)
		}
	})
}
