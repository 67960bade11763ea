package semantic

import (
	"slices"
	"unicode"
)

// Reason is why a question is not answered from an earlier one; "" means that it is.
// Reasons are a small fixed set, so that they can be counted.
type Reason string

// Differences between two questions that guards look for.
const (
	Numbers     Reason = "numbers" // also written as words
	Dates       Reason = "dates"
	Units       Reason = "units"
	Quotes      Reason = "quotes"      // text in quotation marks
	Identifiers Reason = "identifiers" // code, addresses, names of files
	Negation    Reason = "negation"
	Comparison  Reason = "comparison" // also direction, and which of several
	Asking      Reason = "asking"     // who, when, where, why
	Language    Reason = "language"   // also the script
	Length      Reason = "length"     // one is more than twice as long, or both are too long to compare
	Words       Reason = "words"      // most words are the same and one differs; or neither has content words
	Order       Reason = "order"      // the same words in another order
)

// guards are the kinds of tokens whose sequences must be equal.
var guards = []struct {
	kind   kind
	reason Reason
}{
	{date, Dates},
	{number, Numbers},
	{unit, Units},
	{quoted, Quotes},
	{identifier, Identifiers},
	{negation, Negation},
	{comparison, Comparison},
	{asking, Asking},
}

// Guard returns a reason not to reuse an answer for a question that an embedding model
// finds similar, or "". Such models hardly notice a digit, a "not", the order of two words,
// or one word of many. Guard knows function words of English, German and Chinese; in other
// languages all words count as content, so it rejects more.
func Guard(asked, matched string) Reason {
	if asked == matched {
		return ""
	}
	if max(len(asked), len(matched)) > longest {
		return Length
	}
	a, b := tokenise(asked), tokenise(matched)
	if script(asked) != script(matched) || foreign(a, b) || foreign(b, a) {
		return Language
	}
	for _, g := range guards {
		is := func(t token) bool { return t.kind == g.kind }
		if !slices.Equal(forms(a, is), forms(b, is)) {
			return g.reason
		}
	}
	return compareWords(a, b)
}

// compareWords compares content words. Questions made from one template have most words
// in common, and the others decide. If most words differ, the embedding model has found a
// paraphrase, and that is what it is good at.
func compareWords(a, b []token) Reason {
	says := func(t token) bool { return t.kind != function }
	x, y := forms(a, says), forms(b, says)
	fewer, more := min(len(x), len(y)), max(len(x), len(y))
	switch {
	case more == 0: // "what is this?"
		return Words
	case indirect(a, b) || indirect(b, a):
		return compareRoles(a, b)
	case slices.Equal(x, y):
		return compareRoles(a, b)
	case sameSet(x, y):
		return Order
	case more <= few || 2*inOrder(x, y) >= fewer:
		return Words
	case more > 2*fewer:
		return Length
	}
	return ""
}

// few is the number of content words up to which each of them decides.
const few = 4

// compareRoles compares who does something to whom, as in "can I call you". Where
// there is only one person, "you" may be anybody, as "I" may.
func compareRoles(a, b []token) Reason {
	person := func(t token) bool { return t.kind == function && (t.form == "i" || t.form == "you") }
	x, y := forms(a, person), forms(b, person)
	if len(x) > 1 && len(x) == len(y) && !slices.Equal(x, y) {
		return Order
	}
	return ""
}

// forms are the forms of the tokens that are of interest.
func forms(tokens []token, interest func(token) bool) (out []string) {
	for _, t := range tokens {
		if interest(t) {
			out = append(out, t.form)
		}
	}
	return out
}

func sameSet(x, y []string) bool {
	x, y = slices.Clone(x), slices.Clone(y)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// inOrder is the length of the longest common subsequence.
func inOrder(x, y []string) int {
	row := make([]int, len(y)+1)
	for _, a := range x {
		diagonal := 0
		for j, b := range y {
			above := row[j+1]
			if a == b {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return row[len(y)]
}

// foreign reports whether a is in a language of which b, though long enough to show its
// language, has not one word. Its answer would be of no use.
func foreign(a, b []token) bool {
	count := func(tokens []token, l language) (n int) {
		for _, t := range tokens {
			if t.language == l {
				n++
			}
		}
		return n
	}
	mine := english
	if count(a, german) > count(a, english) {
		mine = german
	}
	return count(a, mine) >= 2 && count(b, mine) == 0 && len(b) > few
}

// script is the writing system of most letters of a text.
func script(text string) string {
	counts := make(map[string]int)
	most := ""
	for _, r := range text {
		if !unicode.IsLetter(r) {
			continue
		}
		name := scriptOf(r)
		counts[name]++
		if counts[name] > counts[most] {
			most = name
		}
	}
	return most
}

func scriptOf(r rune) string {
	for _, s := range []struct {
		name  string
		table *unicode.RangeTable
	}{
		{"Latin", unicode.Latin},
		{"Han", unicode.Han},
		{"Cyrillic", unicode.Cyrillic},
		{"Greek", unicode.Greek},
		{"Arabic", unicode.Arabic},
		{"Hebrew", unicode.Hebrew},
		{"Devanagari", unicode.Devanagari},
		{"Hangul", unicode.Hangul},
		{"Kana", unicode.Hiragana},
		{"Kana", unicode.Katakana},
		{"Thai", unicode.Thai},
	} {
		if unicode.Is(s.table, r) {
			return s.name
		}
	}
	return "other"
}
