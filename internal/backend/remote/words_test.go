package remote

import (
	"net/url"
	"strings"
	"testing"
	"unicode"
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
