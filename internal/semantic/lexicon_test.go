package semantic

import (
	"strings"
	"testing"
)

func TestEachWordStandsInOneListAndIsFound(t *testing.T) {
	seen := make(map[string]bool)
	for _, list := range lists {
		for word := range strings.FieldsFuncSeq(list.words, func(r rune) bool { return r == '=' || r == ' ' || r == '\n' || r == '\t' }) {
			if seen[word] {
				t.Errorf("%s stands twice", word)
			}
			seen[word] = true
			if tokens := tokenise(word); len(tokens) != 1 || tokens[0].kind != list.kind {
				t.Errorf("%s: read as %+v, want one token of kind %d", word, tokens, list.kind)
			}
		}
	}
	if len(seen) < 800 {
		t.Errorf("%d words, want at least 800", len(seen))
	}
}
