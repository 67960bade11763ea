package semantic

import (
	"slices"
	"unicode"
)

// Reason is why a question is not answered from an earlier one; "" means that it is.
// Reasons are a small fixed set, so that they can be counted.
type Reason string

// Differences between two questions that Guard looks for.
const (
	Numbers     Reason = "numbers" // also written as words
	Dates       Reason = "dates"
	Units       Reason = "units"
	Quotes      Reason = "quotes"      // text in quotation marks
	Identifiers Reason = "identifiers" // code, addresses, file names
	Negation    Reason = "negation"
	Comparison  Reason = "comparison" // also direction, quantity and order in time
	Asking      Reason = "asking"     // how, who, when, where, why, whether
	Tense       Reason = "tense"      // also mood: can, must, should
	Persons     Reason = "persons"    // pronouns and possessives
	Particles   Reason = "particles"  // prepositions and conjunctions
	Language    Reason = "language"   // also the script
	Length      Reason = "length"     // one is more than twice as long, or both are too long to compare
	Words       Reason = "words"      // content words differ, or there are none
	Order       Reason = "order"      // the same words in another order
)

// before and after list the kinds of tokens in the order in which difference looks at them,
// before and after content words.
var (
	before = []guard{
		{date, Dates},
		{number, Numbers},
		{unit, Units},
		{quoted, Quotes},
		{identifier, Identifiers},
		{negation, Negation},
		{comparison, Comparison},
	}
	after = []guard{{asking, Asking}, {verb, Tense}, {person, Persons}, {particle, Particles}}
)

type guard struct {
	kind   kind
	reason Reason
}

// Guard returns a reason not to reuse an answer for a question that an embedding model
// finds similar, or "". Such models hardly notice a digit, a "not", the order of two words,
// or one word of many. Guard therefore requires the same words in the same order, after it
// has dropped articles and politeness and rewritten equivalent ways of asking to one form.
// It knows the function words of English, German and Chinese. In other languages it drops
// and rewrites nothing, so it rejects more.
func Guard(asked, matched string) Reason {
	if asked == matched {
		return ""
	}
	if max(len(asked), len(matched)) > longest {
		return Length
	}
	x, y := tokenise(asked), tokenise(matched)
	l := language(x, y)
	a, b := normalised(slices.Clone(x), l), normalised(slices.Clone(y), l)
	otherScript := chineseScript(asked)*chineseScript(matched) < 0
	switch {
	case a.isEmpty() && b.isEmpty():
		return Words
	case equivalent(a, b) && !otherScript:
		return ""
	case otherScript || script(asked) != script(matched) || foreign(x, y) || foreign(y, x):
		return Language
	}
	return difference(a, b)
}

// difference names what differs between two questions that are not equivalent.
func difference(a, b normalForm) Reason {
	for _, g := range before {
		if !slices.Equal(a.forms(g.kind), b.forms(g.kind)) {
			return g.reason
		}
	}
	if reason := compareWords(a, b); reason != "" {
		return reason
	}
	for _, g := range after {
		x, y := a.forms(g.kind), b.forms(g.kind)
		switch {
		case slices.Equal(x, y):
		case g.kind == person && sameSet(x, y):
			return Order
		default:
			return g.reason
		}
	}
	return Order
}

// compareWords names the difference between the content words of two questions.
func compareWords(a, b normalForm) Reason {
	x, y := a.forms(content), b.forms(content)
	fewer, more := min(len(x), len(y)), max(len(x), len(y))
	switch {
	case slices.Equal(x, y):
		return ""
	case sameSet(x, y):
		return Order
	case more > few && more > 2*fewer && 2*inOrder(x, y) < fewer:
		return Length
	}
	return Words
}

// few is the number of content words up to which a text is short.
const few = 4

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
// language, has not one word. The answer to one would be of no use to the other.
func foreign(a, b []token) bool {
	l := language(a)
	if l == nil || len(b) <= few {
		return false
	}
	other := loadLexicons().english
	if l == other {
		other = loadLexicons().german
	}
	return votes(l, other, a) >= 2 && votes(l, other, b) == 0
}

// chineseScript is positive for traditional characters, negative for simplified ones, and
// zero where a text shows neither.
func chineseScript(text string) (n int) {
	l := loadLexicons()
	for _, r := range text {
		if _, ok := l.simplified[r]; ok {
			n++
		} else if l.isSimplified[r] {
			n--
		}
	}
	return n
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
