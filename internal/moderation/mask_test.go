package moderation_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"ollama-mcp/internal/moderation"
)

// TestMaskedPiecesAreTheMaskedWhole draws rules and texts of few characters, so that matches are
// frequent, overlap, span pieces, and arise from what other rules put in.
func TestMaskedPiecesAreTheMaskedWhole(t *testing.T) {
	pattern := rapid.Custom(func(t *rapid.T) string {
		atom := rapid.SampledFrom([]string{"a", "b", "ab", "ſ", "[ab]", ".", "(?s:.)", "(?i:k)", "(?i:S)", "[^a]", "(a|ab)", "(ab|a)", "(?:b|bab?)", "é", `\d`})
		repeat := rapid.SampledFrom([]string{"", "", "", "?", "??", "{1,3}", "{2}", "{1,3}?"})
		var b strings.Builder
		for range rapid.IntRange(1, 4).Draw(t, "atoms") {
			b.WriteString(atom.Draw(t, "atom"))
			b.WriteString(repeat.Draw(t, "repeat"))
		}
		return b.String()
	}).Filter(func(pattern string) bool { return !regexp.MustCompile(pattern).MatchString("") })
	piece := rapid.StringOfN(rapid.SampledFrom([]rune("aaabbbkKsSſé1\n\u202e𝔘\u212a")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		var rules []moderation.Rule
		for i := range rapid.IntRange(0, 3).Draw(t, "rules") {
			rules = append(rules, moderation.Rule{
				Name: string(rune('x' + i)), Pattern: pattern.Draw(t, "pattern"), Replacement: rapid.SampledFrom([]string{"", "a", "b", "ab"}).Draw(t, "replacement"),
			})
		}
		filter, err := moderation.NewFilter(rules, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !filter.CanMask() {
			t.Fatalf("%+v cannot be masked in pieces", rules)
		}
		pieces := rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces")
		whole := filter.Review().Text(strings.Join(pieces, ""))
		mask, got := filter.Mask(), ""
		for _, p := range pieces {
			got += mask.Text(p)
			if !strings.HasPrefix(whole, got) || !utf8.ValidString(got) {
				t.Fatalf("after a piece: %q has left, and the whole is %q", got, whole)
			}
		}
		if got += mask.Rest(); got != whole {
			t.Fatalf("got %q, want %q", got, whole)
		}
		if again := mask.Text("ab1") + mask.Rest(); again != filter.Review().Text("ab1") {
			t.Fatalf("the next text: got %q", again)
		}
	})
}

func TestMaskHoldsBackNoMoreThanTheLongestMatch(t *testing.T) {
	filter, err := moderation.NewFilter([]moderation.Rule{{Name: "project", Pattern: "(?i)orion"}, {Name: "card", Pattern: `\d{4}`}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mask, left := filter.Mask(), 0
	for i := range 1000 {
		left += len(mask.Text("x"))
		// Five bytes of a name, of which two letters have no longer form, and four digits of up to four bytes.
		if most := 5 + 4*utf8.UTFMax; i+1-left > most {
			t.Fatalf("after %d bytes %d are held back, want at most %d", i+1, i+1-left, most)
		}
	}
	if got := new(moderation.Mask).Text("a\u202eb"); got != "ab" {
		t.Errorf("without rules: got %q", got)
	}
}

func TestOnlyRulesWithALongestMatchMaskInPieces(t *testing.T) {
	for pattern, want := range map[string]bool{
		"secret": true, "(?i)secret": true, "a|b{2,9}|c?": false, "a|b{2,9}c?": true, `[\w.]{1,64}@[\w.]{1,99}`: true, "(?s).{5}": true,

		"sk-[a-z]{8,}": false, "a+": false, "ab*": false, "(ab*|c)": false, "^a": false, "a$": false, `\bsecret\b`: false, "(?m)^a": false, `a\z`: false, `\Ba`: false, "(?:a+){2}": false,
	} {
		filter, err := moderation.NewFilter([]moderation.Rule{{Name: "rule", Pattern: pattern}}, nil)
		if err != nil {
			if want {
				t.Errorf("%s: %v", pattern, err)
			}
			continue
		}
		if got := filter.CanMask(); got != want {
			t.Errorf("%s: got %v", pattern, got)
		}
	}
	refuse, err := moderation.NewFilter([]moderation.Rule{{Name: "rule", Pattern: "a", Refuse: true}}, nil)
	if err != nil || refuse.CanMask() {
		t.Errorf("a rule that withholds the answer: got %v, %v", refuse.CanMask(), err)
	}
	guarded, err := moderation.NewFilter(nil, &moderation.Guard{Model: "judge", Prompt: "judge"})
	if err != nil || guarded.CanMask() {
		t.Errorf("a guard: got %v, %v", guarded.CanMask(), err)
	}
	if none := (*moderation.Filter)(nil); !none.CanMask() {
		t.Error("without a filter: got false")
	}
}
