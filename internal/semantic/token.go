package semantic

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is a piece of a question. Tokens of a kind mean the same if their forms do.
type token struct {
	kind     kind
	form     string
	language language
}

var (
	// leadingNumber is a number, a range, a date or a time of day at the start of a
	// field. It begins with a sign, and goes on after a separator, only before a digit.
	leadingNumber = regexp.MustCompile(`^[-+−]?\d+([.,:/-]\d+)*`)
	// calendar is a date or a time written in digits.
	calendar = regexp.MustCompile(`^\d+([-/.]\d+){2}$|^\d+(:\d+)+$`)
	// ending is an English ending behind an apostrophe that says nothing.
	ending = regexp.MustCompile(`'(s|m|re|ve|ll|d)$`)
)

// quotes are the closing marks, by the opening one. A mark of the ASCII may be
// either.
var quotes = map[rune]string{
	'"': `"`, '`': "`", '\'': "'", '“': "”", '„': "“”", '«': "»", '»': "«", '「': "」", '『': "』", '《': "》",
}

// tokenise takes a question apart.
func tokenise(text string) (tokens []token) {
	text = strings.Map(plain, text)
	for text != "" {
		first, size := utf8.DecodeRuneInString(text)
		inside, after, isQuote := cutQuote(text)
		switch {
		case isQuote:
			tokens = append(tokens, token{kind: quoted, form: inside})
			text = after
		case isHan(first):
			var t token
			t, text = cutHan(text)
			tokens = append(tokens, t)
		case endsField(first):
			text = text[size:]
		default:
			end := strings.IndexFunc(text, endsField)
			if end < 0 {
				end = len(text)
			}
			tokens = appendField(tokens, text[:end])
			text = text[end:]
		}
	}
	return tokens
}

// plain writes characters that have several forms in one: the wide ones of Chinese
// fonts as those of ASCII, and apostrophes straight.
func plain(r rune) rune {
	switch {
	case r >= '！' && r <= '～':
		return r - '！' + '!'
	case r == '’' || r == '‘':
		return '\''
	case unicode.Is(unicode.Cf, r): // invisible
		return -1
	}
	return r
}

func endsField(r rune) bool {
	return unicode.IsSpace(r) || isHan(r) || r != '\'' && quotes[r] != "" || strings.ContainsRune("，。、；：？！…", r)
}

// cutQuote takes quoted text off the start of a text. A quote of a single mark ends
// where a word does, for there it is no apostrophe.
func cutQuote(text string) (inside, after string, ok bool) {
	first, size := utf8.DecodeRuneInString(text)
	closing := quotes[first]
	if closing == "" {
		return "", text, false
	}
	for i, r := range text[size:] {
		if !strings.ContainsRune(closing, r) {
			continue
		}
		after = text[size+i+utf8.RuneLen(r):]
		next, _ := utf8.DecodeRuneInString(after)
		if r != '\'' || !unicode.IsLetter(next) {
			return text[size : size+i], after, true
		}
	}
	return "", text, false
}

// cutHan takes the longest word that the lexicon knows off the start of a Chinese
// text, or one character.
func cutHan(text string) (t token, after string) {
	_, one := utf8.DecodeRuneInString(text)
	t, after = token{form: text[:one]}, text[one:]
	lexicon, end := lexicon(), 0
	for range lexicon.longestHan {
		r, size := utf8.DecodeRuneInString(text[end:])
		if !isHan(r) {
			break
		}
		end += size
		if m, ok := lexicon.known[text[:end]]; ok {
			t, after = token(m), text[end:]
		}
	}
	return t, after
}

// appendField appends the tokens of what stands between spaces.
func appendField(tokens []token, field string) []token {
	field = strings.TrimLeft(strings.TrimRight(field, ".,;:!?()[]'…"), "([,;:!?'…")
	if prefix := leadingUnit(field); prefix != "" {
		tokens = append(tokens, word(prefix))
		field = field[len(prefix):]
	}
	if m, ok := lexicon().known[strings.ToLower(field)]; ok && m.kind == number { // 1st
		return append(tokens, token(m))
	}
	if n := leadingNumber.FindString(field); n != "" {
		k := number
		if calendar.MatchString(n) {
			k = date
		}
		tokens = append(tokens, token{kind: k, form: n})
		field = strings.TrimLeft(field[len(n):], "-")
	}
	switch {
	case field == "":
		return tokens
	case isIdentifier(field):
		return append(tokens, token{kind: identifier, form: field})
	}
	for part := range strings.FieldsFuncSeq(field, func(r rune) bool { return strings.ContainsRune("-–—,;:!?", r) }) {
		if verb, ok := strings.CutSuffix(strings.ToLower(part), "n't"); ok {
			if verb == "wo" {
				verb = "will"
			}
			tokens = append(tokens, word(verb), word("not"))
			continue
		}
		tokens = append(tokens, word(ending.ReplaceAllString(part, "")))
	}
	return tokens
}

// leadingUnit is the sign of a currency in front of an amount.
func leadingUnit(field string) string {
	r, size := utf8.DecodeRuneInString(field)
	if !unicode.Is(unicode.Sc, r) || len(field) == size {
		return ""
	}
	return field[:size]
}

// word looks a word up. A function word or unit in capitals is something else: IT,
// US, or a megabyte that would be a megabit.
func word(w string) token {
	lower := strings.ToLower(w)
	m, ok := lexicon().known[lower]
	capitals := len(w) > 1 && w == strings.ToUpper(w) && strings.IndexFunc(w, unicode.IsUpper) == 0
	switch {
	case !ok:
		return token{form: lower}
	case capitals && (m.kind == function || m.kind == unit):
		return token{form: w}
	}
	return token(m)
}

// isIdentifier says that a field is no word of a language but code, an address or
// a name of a file: it has signs, dots or digits inside, or capitals behind small
// letters.
func isIdentifier(field string) bool {
	if _, known := lexicon().known[strings.ToLower(field)]; known {
		return false
	}
	if strings.HasPrefix(field, "-") && len(field) > 1 {
		return true // an option
	}
	before := ' '
	for _, r := range field {
		if unicode.IsDigit(r) || unicode.IsLower(before) && unicode.IsUpper(r) ||
			strings.ContainsRune(`_/\@#=+*<>{}[]()|~^&$%.`, r) || unicode.IsSymbol(r) {
			return true
		}
		before = r
	}
	return false
}
