package remote

import (
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"ollama-mcp/internal/backend"
)

func FuzzOneLine(f *testing.F) {
	c, err := New(Options{URL: &url.URL{Scheme: "http", Host: "a", User: url.UserPassword("user", "pass-word")}, Key: "k3y-of-ours"})
	if err != nil {
		f.Fatal(err)
	}
	for _, said := range []string{
		"", "boom", "one\ntwo", "\x1b[31mred\x00", "<html>", "k3y-of-ours", "dXNlcjpwYXNzLXdvcmQ= pass-word", strings.Repeat("é", 400),
		"k3y-\x00of-ours", "pass\u200b-word", strings.Repeat("x", 296) + "k3y-of-ours",
	} {
		f.Add(said)
	}
	f.Fuzz(func(t *testing.T, said string) {
		got := c.OneLine(said)
		for _, secret := range []string{"k3y-of-ours", "pass-word", "dXNlcjpwYXNzLXdvcmQ="} {
			if strings.Contains(got, secret) {
				t.Fatalf("%q holds a secret", got)
			}
		}
		if len(got) > 310 || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q is no short line", got)
		}
	})
}

func TestDelayThatAServerNamesInItsMessageIsRead(t *testing.T) {
	for said, want := range map[string]time.Duration{
		"Rate limit reached for model `m`: Limit 6000, Used 5800. Please try again in 6m0s. Need more tokens?": 6 * time.Minute,
		"Rate limit reached. Please try again in 7m12.5s.":                                                     7*time.Minute + 12500*time.Millisecond,
		"Please try again in 350ms. Visit the limits page.":                                                    350 * time.Millisecond,
		"Quota exceeded for the free tier. Please retry in 41.9s.":                                             41900 * time.Millisecond,
		"Requests exceeded the call rate limit. Please retry after 26 seconds.":                                26 * time.Second,
		"Too many requests, try again in 1 minute":                                                             time.Minute,
		"TRY AGAIN IN 2 HOURS":         2 * time.Hour,
		"retry after 500 milliseconds": 500 * time.Millisecond,

		"server busy, please try again":                   0,
		"try again in a moment":                           0,
		"try again in 9 lives":                            0,
		"try again in 1.2.3s":                             0,
		"try again in 99999999999999999h":                 0,
		"the last 20s were busy; you may try again later": 0,
		"": 0,
	} {
		if got := backend.RestTime(backend.Overload, said); got != want {
			t.Errorf("%q: got %v, want %v", said, got, want)
		}
	}
}
