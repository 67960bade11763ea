package moderation

import (
	"math"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file masks texts while they arrive. A piece leaves as soon as no rule can match it any
// more, whatever follows.

// unbounded is the length of the longest match of a pattern that has none.
const unbounded = math.MaxInt

// CanMask reports whether a text can be masked while it arrives. That takes rules that withhold
// nothing, no guard, and patterns each of whose matches is decided by a bounded number of bytes
// from its beginning: without *, + and {n,}, and without assertions such as ^ and \b, which look
// at what is around a match. A nil filter has no rules.
func (f *Filter) CanMask() bool {
	if f == nil {
		return true
	}
	for _, rule := range f.rules {
		if rule.Refuse || rule.longest == unbounded {
			return false
		}
	}
	return f.guard == nil
}

// Mask masks one text that arrives in pieces. What it returns, put together, is what
// [Review.Text] returns for the whole text. The zero value only cleans. It is for one goroutine.
type Mask struct {
	rules []rule
	held  []string // what each rule has not decided about
}

// Mask begins to mask a text. The filter must be one for which CanMask is true.
func (f *Filter) Mask() *Mask {
	if f == nil {
		return new(Mask)
	}
	return &Mask{rules: f.rules, held: make([]string, len(f.rules))}
}

// Text takes the next piece of the text, which must not end within a character, and returns what
// may leave by now.
func (m *Mask) Text(piece string) string {
	piece = Clean(piece)
	for i, rule := range m.rules {
		piece, m.held[i] = rule.decide(m.held[i] + piece)
	}
	return piece
}

// Rest ends the text and returns what was held back of it. The mask can then be used for another.
func (m *Mask) Rest() (rest string) {
	for i, rule := range m.rules {
		rest = rule.pattern.ReplaceAllLiteralString(m.held[i]+rest, rule.Replacement)
		m.held[i] = ""
	}
	return rest
}

// decide masks the part of a text in which all matches are known, whatever follows, and returns
// the rest as it is. Whether a match begins at a byte is known once as many bytes have arrived
// from there as the longest match has.
func (r *rule) decide(text string) (masked, rest string) {
	var b strings.Builder
	for {
		known := len(text) - r.longest // the last byte about which that is known
		if known < 0 {
			break
		}
		match := r.pattern.FindStringIndex(text)
		if match == nil || match[0] > known {
			known = runeStart(text, known+1)
			b.WriteString(text[:known])
			text = text[known:]
			break
		}
		b.WriteString(text[:match[0]])
		b.WriteString(r.Replacement)
		text = text[match[1]:]
	}
	return b.String(), text
}

// runeStart is the beginning of the character that has the byte at an index.
func runeStart(text string, at int) int {
	for at > 0 && at < len(text) && !utf8.RuneStart(text[at]) {
		at--
	}
	return at
}

// longestMatch is the length in bytes of the longest match of a pattern; unbounded if it has
// none, or if a match depends on what is around it.
func longestMatch(re *syntax.Regexp) int {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpNoMatch:
		return 0
	case syntax.OpLiteral:
		sum := 0
		for _, r := range re.Rune {
			longest := utf8.RuneLen(r)
			if re.Flags&syntax.FoldCase != 0 {
				for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
					longest = max(longest, utf8.RuneLen(f))
				}
			}
			sum += longest
		}
		return sum
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return utf8.UTFMax
	case syntax.OpCapture, syntax.OpQuest:
		return longestMatch(re.Sub[0])
	case syntax.OpRepeat:
		sub := longestMatch(re.Sub[0])
		if re.Max < 0 || sub == unbounded {
			return unbounded
		}
		return re.Max * sub
	case syntax.OpAlternate, syntax.OpConcat:
		longest := 0
		for _, sub := range re.Sub {
			n := longestMatch(sub)
			switch {
			case n == unbounded:
				return unbounded
			case re.Op == syntax.OpConcat:
				longest += n
			default:
				longest = max(longest, n)
			}
		}
		return longest
	}
	return unbounded
}
