package moderation_test

import (
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"ollama-mcp/internal/moderation"
)

func TestTextIsFreedOfWhatNoReaderSees(t *testing.T) {
	for dirty, want := range map[string]string{
		"plain\ttext\r\n":        "plain\ttext\r\n",
		"a\x1b[31mb\x00c":        "a[31mbc",
		"a\U000E0041\U000E0042b": "ab", // tags
		"a\u202eb\u2066c":        "abc",
		"👩\u200d💻 می\u200cخواهم": "👩\u200d💻 می\u200cخواهم", // joiners are part of the writing
		"\u00fcber":              "über",
	} {
		if got := moderation.Clean(dirty); got != want {
			t.Errorf("%q: got %q, want %q", dirty, got, want)
		}
	}
}

func TestCleanTextIsLeftAsItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dirty := rapid.String().Draw(t, "text")
		once := moderation.Clean(dirty)
		if twice := moderation.Clean(once); twice != once || !utf8.ValidString(once) || len(once) > len(dirty) {
			t.Errorf("%q: got %q, and then %q", dirty, once, twice)
		}
	})
}
