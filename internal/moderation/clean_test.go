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

func TestBlankTextShowsAReaderNothing(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, " \t\r\n": true, "\u00a0\u2003\u3000": true, "\u200b\u200c\u200d\u2060\ufeff": true, "\u00ad\u034f": true,
		"\u202e\u2066\u2069": true, "\U000e0041": true, "\u3164\uffa0\u115f": true, "\u2800": true, "\ufe0f": true, "\x00\x1b": true, "\u2028": true,

		".": false, "0": false, "\u200ba": false, "答": false, "👍": false, "👍\ufe0f": false, "\ufffd": false, "\u2801": false, "\xff": false, "{}": false, "\u0301": false,
	} {
		if got := moderation.IsBlank(text); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}
