package semantic

import (
	"slices"
	"strings"
)

// rule rewrites a phrase, so that equivalent ways of asking become the same tokens.
//
// A rule is written "PATTERN -> REPLACEMENT". The items of a pattern match one token each:
//
//	a|b     one of these words
//	#name   a word of a set of the vocabulary
//	<name>  a token of a kind
//	,       the end of a clause
//	*       one token or more of a clause, as few as possible; *<name> has one of that
//	        kind among them, *!<name> has none, and *!#name has no word of the set
//	^ $     no token, but the start and the end of a clause
//	!item   no token, but the next one must not match the item
//
// A "?" after an item makes it optional. A "=" before an item keeps its tokens for the
// replacement, in which each "=" inserts the next kept tokens, "=2" the second ones, and "=31en"
// the third and the first ones as one German verb, of which the infinitive is made. Rules are
// applied in order. Each makes one pass from left to right and does not match its own output.
type rule struct {
	pattern     []item
	replacement []string
	needs       []string // the rule cannot match without one of these words; nil means unknown
}

// item is one item of a pattern.
type item struct {
	words    []string
	set      map[string]bool
	kind     kind
	match    matcher
	optional bool
	negative bool
	kept     bool
}

// matcher says what an item matches.
type matcher uint8

const (
	matchWords matcher = iota
	matchSet
	matchKind
	matchStart
	matchEnd
	matchRun        // any tokens
	matchRunWith    // any tokens including one of the kind
	matchRunWithout // any tokens except those of the kind or in the set
)

// parseRules parses one rule per line. It panics on unknown names, because rules are part of
// the program.
func parseRules(text string, sets map[string]map[string]bool) (rules []rule) {
	for line := range strings.Lines(text) {
		pattern, replacement, ok := strings.Cut(strings.TrimSpace(line), "->")
		if !ok {
			continue
		}
		r := rule{replacement: strings.Fields(replacement)}
		for field := range strings.FieldsSeq(pattern) {
			it := parseItem(field, sets)
			if it.match == matchWords && !it.optional && !it.negative && (r.needs == nil || len(it.words) < len(r.needs)) {
				r.needs = it.words
			}
			r.pattern = append(r.pattern, it)
		}
		rules = append(rules, r)
	}
	return rules
}

func parseItem(field string, sets map[string]map[string]bool) (it item) {
	field, it.kept = strings.CutPrefix(field, "=")
	field, it.negative = strings.CutPrefix(field, "!")
	field, it.optional = strings.CutSuffix(field, "?")
	kept := it.kept
	kindOf := func(name string) kind {
		k, ok := kindNames[strings.Trim(name, "<>!")]
		if !ok {
			panic("semantic: a rule names an unknown kind: " + name)
		}
		return k
	}
	switch {
	case field == "^":
		it.match = matchStart
	case field == "$":
		it.match = matchEnd
	case field == ",":
		it.match, it.kind = matchKind, stop
	case field == "*":
		it.match = matchRun
	case strings.HasPrefix(field, "*<"):
		it.match, it.kind = matchRunWith, kindOf(field[1:])
	case strings.HasPrefix(field, "*!"):
		it = parseItem(field[2:], sets)
		it.match, it.kept = matchRunWithout, kept
	case strings.HasPrefix(field, "<"):
		it.match, it.kind = matchKind, kindOf(field)
	case strings.HasPrefix(field, "#"):
		it.match, it.set = matchSet, sets[field[1:]]
		if it.set == nil {
			panic("semantic: a rule names an unknown set: " + field)
		}
	default:
		it.words = strings.Split(field, "|")
	}
	return it
}

// rewrite applies the rules of a lexicon. The work is at most proportional to the number of
// rules times the square of the number of tokens: each rule makes one pass, and at each
// position a run extends at most to the end of its clause.
func (l *lexicon) rewrite(tokens []token) []token {
	present := make(map[string]bool, len(tokens))
	for _, t := range tokens {
		present[t.word] = true
	}
	for i := range l.rules {
		r := &l.rules[i]
		if r.needs != nil && !slices.ContainsFunc(r.needs, func(w string) bool { return present[w] }) {
			continue
		}
		for at := 0; at < len(tokens); {
			var kept [maxKept]span
			end, ok := matchItems(r.pattern, tokens, at, kept[:0:maxKept])
			if !ok || end.at == at {
				at++
				continue
			}
			written := l.written(r, tokens, end.kept)
			for _, t := range written {
				present[t.word] = true
			}
			tokens = slices.Concat(tokens[:at], written, tokens[end.at:])
			at += len(written)
		}
	}
	return tokens
}

// written returns the tokens that replace a match.
func (l *lexicon) written(r *rule, tokens []token, kept []span) (out []token) {
	next := 0
	for _, w := range r.replacement {
		numbers, inserts := strings.CutPrefix(w, "=")
		numbers, verb := strings.CutSuffix(numbers, "en")
		switch {
		case !inserts:
			out = append(out, l.token(w))
		case verb:
			joined := ""
			for _, n := range numbers {
				joined += tokens[kept[n-'1'].from].word
			}
			out = append(out, l.token(infinitive(joined)))
		case numbers != "":
			k := kept[numbers[0]-'1']
			out = append(out, tokens[k.from:k.to]...)
		default:
			out = append(out, tokens[kept[next].from:kept[next].to]...)
			next++
		}
	}
	return out
}

// infinitive returns the infinitive of a German verb in the first or third person, if the
// verb keeps its stem.
func infinitive(verb string) string {
	if strings.HasSuffix(verb, "en") {
		return verb
	}
	stem := strings.TrimSuffix(strings.TrimSuffix(verb, "t"), "e")
	if strings.HasSuffix(stem, "er") || strings.HasSuffix(stem, "el") {
		return stem + "n"
	}
	return stem + "en"
}

// token returns the token of a word in lower case.
func (l *lexicon) token(word string) token {
	m, ok := l.known[word]
	if !ok {
		m = meaning{content, word}
	}
	return token{kind: m.kind, form: m.form, word: word}
}

// maxKept is the number of items that a rule can keep without an allocation.
const maxKept = 3

// span is a range of tokens.
type span struct{ from, to int }

// matched is the position after a match and the ranges it keeps.
type matched struct {
	at   int
	kept []span
}

// matchItems matches a pattern against the tokens from a position on.
func matchItems(pattern []item, tokens []token, at int, kept []span) (matched, bool) {
	if len(pattern) == 0 {
		return matched{at, kept}, true
	}
	it, rest := &pattern[0], pattern[1:]
	if it.negative {
		if at < len(tokens) && it.matches(&tokens[at]) {
			return matched{}, false
		}
		return matchItems(rest, tokens, at, kept)
	}
	keep := func(to int) []span {
		if it.kept {
			return append(kept, span{at, to})
		}
		return kept
	}
	switch it.match {
	case matchStart:
		if at > 0 && tokens[at-1].kind != stop && tokens[at-1].kind != filler {
			return matched{}, false
		}
		return matchItems(rest, tokens, at, kept)
	case matchEnd:
		if at < len(tokens) && tokens[at].kind != stop {
			return matched{}, false
		}
		return matchItems(rest, tokens, at, kept)
	case matchRun, matchRunWith, matchRunWithout:
		seen := false
		for to := at; to < len(tokens) && tokens[to].kind != stop; {
			if it.match == matchRunWithout && (it.set[tokens[to].word] || it.set == nil && tokens[to].kind == it.kind) {
				break
			}
			seen = seen || tokens[to].kind == it.kind
			to++
			if !seen && it.match == matchRunWith {
				continue
			}
			if m, ok := matchItems(rest, tokens, to, keep(to)); ok {
				return m, true
			}
		}
		return matched{}, false
	}
	if at < len(tokens) && it.matches(&tokens[at]) {
		if m, ok := matchItems(rest, tokens, at+1, keep(at+1)); ok {
			return m, true
		}
	}
	if it.optional {
		return matchItems(rest, tokens, at, keep(at))
	}
	return matched{}, false
}

// matches reports whether an item for one token matches it.
func (it *item) matches(t *token) bool {
	switch it.match {
	case matchSet:
		return it.set[t.word]
	case matchKind:
		return t.kind == it.kind
	}
	return t.word != "" && slices.Contains(it.words, t.word)
}
