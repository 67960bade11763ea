package semantic

import (
	"slices"
	"strings"
)

// defined is whether a question defines one of a kind or many: "what is a quark", "what are quarks".
type defined uint8

const (
	definesNothing defined = iota
	definesOne
	definesMany
)

// definition returns what a question defines, which has nothing but "what", "is" and a noun.
func definition(tokens []token) defined {
	if len(tokens) < 3 || tokens[0].word != "what" && tokens[0].word != "was" {
		return definesNothing
	}
	n := definesNothing
	for _, t := range tokens[1:] {
		switch {
		case t.kind == content:
		case n != definesNothing:
			return definesNothing
		case t.word == "is" || t.word == "ist":
			n = definesOne
		case t.word == "are" || t.word == "sind":
			n = definesMany
		default:
			return definesNothing
		}
	}
	return n
}

// isOneOfMany reports whether the tokens at a position are one and many of a kind, in two
// questions that have one answer because they are about the kind: what it is, or how to do
// something that is done to each by itself. "How do I boil an egg" asks what "how do I boil
// eggs" does, but "how do I merge a branch" is not "how do I merge branches".
func isOneOfMany(one, many normalForm, at int) bool {
	from := at
	for one.tokens[from].indefinite == "" {
		if from--; from < 1 || one.tokens[from].kind != content {
			return false
		}
	}
	if from == 0 || many.tokens[from].afterArticle || one.latin == nil {
		return false
	}
	defined := one.defines == definesOne && many.defines == definesMany
	if !defined && !one.doneToEach(from) {
		return false
	}
	singular, plural := one.tokens[at].form, many.tokens[at].form
	if one.latin.sets["plural-differs"][singular] {
		return false
	}
	if one.latin == loadLexicons().german {
		return isGermanPlural(singular, plural, one.tokens[from].indefinite)
	}
	name := many.tokens[at].text != many.tokens[at].word // Windows
	return !name && isEnglishPlural(singular, plural)
}

// doneToEach reports whether a question asks how to do something to the noun that begins at a
// position, and each thing is done by itself. German verbs may come last.
func (q normalForm) doneToEach(noun int) bool {
	switch q.tokens[0].form {
	case "how-to", "how-to-you":
	case "how", "wie":
		if q.tokens[1].kind == comparison { // how many, how much
			return false
		}
	default:
		return false
	}
	each := q.latin.sets["each"]
	return each[q.tokens[noun-1].word] || each[q.tokens[len(q.tokens)-1].word]
}

var irregularPlurals = map[string]string{
	"man": "men", "woman": "women", "child": "children", "foot": "feet", "tooth": "teeth", "goose": "geese", "mouse": "mice", "ox": "oxen",
	"potato": "potatoes", "tomato": "tomatoes",
}

func isEnglishPlural(one, many string) bool {
	if plural, ok := irregularPlurals[one]; ok {
		return many == plural
	}
	last := one[len(one)-1]
	switch {
	case last == 'y' && len(one) > 1 && !strings.ContainsRune("aeiou", rune(one[len(one)-2])):
		return many == one[:len(one)-1]+"ies"
	case strings.ContainsRune("sxz", rune(last)), strings.HasSuffix(one, "ch"), strings.HasSuffix(one, "sh"):
		return many == one+"es"
	case last == 'o' && many == one+"es":
		return true
	case last == 'f' && many == one[:len(one)-1]+"ves", strings.HasSuffix(one, "fe") && many == one[:len(one)-2]+"ves":
		return true
	}
	return many == one+"s"
}

// isGermanPlural goes by the article, which shows the gender: "ein Rat" and "eine Rate" have
// other plurals.
func isGermanPlural(one, many, article string) bool {
	changed := umlaut(one)
	switch article {
	case "eine":
		return slices.Contains([]string{one + "n", one + "en", one + "nen", one + "s", changed + "e"}, many)
	case "ein", "einen":
		weak := strings.HasSuffix(one, "e") && many == one+"n"
		for _, ending := range []string{"ent", "ant", "ist", "net", "tor", "ator", "loge", "graf", "mat"} {
			weak = weak || strings.HasSuffix(one, ending) && many == one+"en"
		}
		return weak || slices.Contains([]string{one + "e", one + "er", one + "s", changed, changed + "e", changed + "er"}, many)
	}
	return false
}

// umlaut returns a German word with the last of its vowels that can have an umlaut changed.
func umlaut(word string) string {
	at := strings.LastIndexAny(word, "aou")
	if at < 0 {
		return word
	}
	if at > 0 && word[at-1:at+1] == "au" {
		at--
	}
	return word[:at] + map[byte]string{'a': "ä", 'o': "ö", 'u': "ü"}[word[at]] + word[at+1:]
}
