package semantic

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEachWordStandsInOneClassAndIsFound(t *testing.T) {
	all := 0
	for name, v := range map[string]vocabulary{
		"shared": {classes: sharedClasses}, "english": english, "german": german, "chinese": chinese,
	} {
		l, seen := newLexicon(v), make(map[string]bool)
		for _, c := range v.classes {
			for word := range strings.FieldsFuncSeq(c.words, func(r rune) bool { return r == '=' || r == ' ' || r == '\n' || r == '\t' }) {
				if seen[word] {
					t.Errorf("%s: %s stands twice", name, word)
				}
				seen[word] = true
				tokens := tokenise(word + " x") // an article at the end of a clause is none
				classify(tokens, l)
				tokens = tokens[:len(tokens)-1]
				if _, shared := loadLexicons().shared.known[word]; !shared && !strings.ContainsAny(word, "-[") && // words that only rules write
					(len(tokens) != 1 || tokens[0].kind != c.kind) {
					t.Errorf("%s: %s is read as %+v, want one token of kind %d", name, word, tokens, c.kind)
				}
			}
		}
		all += len(seen)
	}
	if all < 1000 {
		t.Errorf("%d words, want at least 1000", all)
	}
}

// The tokeniser takes the longest word that it knows, so a word of a rule that it does not
// know never comes to the rule.
func TestChineseRulesNameWordsThatTheTokeniserFinds(t *testing.T) {
	l := loadLexicons()
	check := func(word string) {
		if utf8.RuneCountInString(word) > 1 && l.chinese.known[word].form == "" {
			t.Errorf("%s is in a rule but in no class", word)
		}
		if m, ok := l.chinese.known[word]; ok && m.form != word {
			t.Errorf("%s is in a rule, but is read as %s", word, m.form)
		}
	}
	for _, r := range l.chinese.rules {
		for _, it := range r.pattern {
			for _, w := range it.words {
				check(w)
			}
			for w := range it.set {
				check(w)
			}
		}
	}
}
