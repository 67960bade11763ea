package semantic

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// token is a piece of a question. Two tokens of a kind mean the same if their forms are
// equal.
type token struct {
	kind kind
	form string
	word string // the spelling that rules know, in lower case; empty if it is no word
	text string // the spelling in the question
	// ending is that of a German article before the token. "Hat der Hund den Mann gebissen"
	// and "Hat den Hund der Mann gebissen" differ in nothing else.
	ending       string
	afterArticle bool
	indefinite   string // the indefinite article before the token, "an" as "a"; empty if there is none
}

var (
	// leadingNumber is a number, a range, a date or a time of day at the start of a
	// field. A sign or a separator belongs to it only before a digit.
	leadingNumber = regexp.MustCompile(`^[-+−]?\d+([.,:/-]\d+)*`)
	// calendar is a date or a time written in digits.
	calendar = regexp.MustCompile(`^\d+([-/.]\d+){2}$|^\d+(:\d+)+$`)
)

// quotes maps opening quotation marks to the marks that may close them. An ASCII mark
// opens and closes.
var quotes = map[rune]string{
	'"': `"`, '`': "`", '\'': "'", '“': "”", '„': "“”", '«': "»", '»': "«", '「': "」", '『': "』", '《': "》",
}

// tokenise splits a question. Words in Latin script are left for classify, which knows the
// language.
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
		case strings.ContainsRune(stops, first):
			tokens = append(tokens, token{kind: stop})
			text = text[size:]
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

// stops are the marks that end a clause. ASCII ones do so at the end of a field only.
const (
	stops      = "，。；：？！…\n"
	asciiStops = ",.;:?!"
)

// plain maps variants of a character to one: full-width forms to ASCII, and typographic
// apostrophes to the straight one. Invisible characters are dropped.
func plain(r rune) rune {
	switch {
	case r >= '！' && r <= '～':
		return r - '！' + '!'
	case r == '’' || r == '‘':
		return '\''
	case unicode.Is(unicode.Cf, r):
		return -1
	}
	return r
}

func endsField(r rune) bool {
	return unicode.IsSpace(r) || isHan(r) || r != '\'' && quotes[r] != "" || strings.ContainsRune(stops+"、", r)
}

// cutQuote takes quoted text off the start of a text. A single quotation mark closes only
// at the end of a word, because inside one it is an apostrophe.
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

// cutHan takes the longest known word off the start of a Chinese text, or one character.
func cutHan(text string) (t token, after string) {
	l := loadLexicons()
	_, one := utf8.DecodeRuneInString(text)
	t, after = token{form: text[:one], word: text[:one]}, text[one:]
	end, word := 0, make([]rune, 0, 8)
	for range max(l.shared.longest, l.chinese.longest) {
		r, size := utf8.DecodeRuneInString(text[end:])
		if !isHan(r) {
			break
		}
		end += size
		if simple, ok := l.simplified[r]; ok {
			r = simple
		}
		word = append(word, r)
		m, ok := l.shared.known[string(word)]
		if !ok {
			m, ok = l.chinese.known[string(word)]
		}
		if ok {
			t, after = token{kind: m.kind, form: m.form, word: m.form}, text[end:]
		}
	}
	return t, after
}

// appendField appends the tokens of the text between two spaces.
func appendField(tokens []token, field string) []token {
	trimmed := strings.TrimRight(field, ".,;:!?()[]'…")
	ends := strings.ContainsAny(field[len(trimmed):], asciiStops)
	trimmed = strings.TrimLeft(trimmed, "([,;:!?'…")
	if trimmed != "" {
		tokens = appendTrimmed(tokens, trimmed)
	}
	if ends {
		tokens = append(tokens, token{kind: stop})
	}
	return tokens
}

func appendTrimmed(tokens []token, field string) []token {
	if prefix := leadingUnit(field); prefix != "" {
		tokens = append(tokens, word(prefix))
		field = field[len(prefix):]
	}
	if m, ok := loadLexicons().shared.known[strings.ToLower(field)]; ok && m.kind == number { // 1st
		return append(tokens, word(field))
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
		tokens = appendWord(tokens, part)
	}
	return tokens
}

// appendWord appends a word and what an apostrophe or "cannot" joins to it.
func appendWord(tokens []token, text string) []token {
	lower := strings.ToLower(text)
	if lower == "cannot" {
		return append(tokens, word("can"), word("not"))
	}
	if verb, ok := strings.CutSuffix(lower, "n't"); ok {
		switch verb {
		case "wo":
			verb = "will"
		case "ca":
			verb = "can"
		case "sha":
			verb = "shall"
		}
		return append(tokens, word(verb), word("not"))
	}
	at := strings.LastIndexByte(text, '\'')
	if at <= 0 {
		return append(tokens, word(text))
	}
	joined, ok := joinedWords[lower[at:]]
	if !ok {
		return append(tokens, word(text))
	}
	tokens = append(tokens, word(text[:at]))
	if lower[at:] == "'s" && !takesIs[lower[:at]] {
		return append(tokens, token{kind: particle, form: possessive, word: possessive})
	}
	return append(tokens, word(joined))
}

// joinedWords maps contractions to the verbs they stand for.
var joinedWords = map[string]string{"'s": "is", "'m": "am", "'re": "are", "'ve": "have", "'ll": "will", "'d": "would"}

// takesIs lists the words after which "'s" is a verb. After others it is the possessive.
var takesIs = map[string]bool{
	"what": true, "who": true, "where": true, "when": true, "why": true, "how": true, "which": true,
	"it": true, "he": true, "she": true, "that": true, "this": true, "there": true, "here": true,
}

const possessive = "'s"

// leadingUnit returns the currency sign in front of an amount.
func leadingUnit(field string) string {
	r, size := utf8.DecodeRuneInString(field)
	if !unicode.Is(unicode.Sc, r) || len(field) == size {
		return ""
	}
	return field[:size]
}

// word returns the token of a word: classified if the shared lists have it, otherwise for
// classify. A unit in capitals is not looked up, because Mb and MB differ.
func word(w string) token {
	lower := strings.ToLower(w)
	m, ok := loadLexicons().shared.known[lower]
	switch {
	case !ok:
		m = meaning{content, lower}
	case m.kind == unit && inCapitals(w):
		m = meaning{content, w}
	}
	return token{kind: m.kind, form: m.form, word: lower, text: w}
}

// inCapitals reports whether a word of more than one letter is written in capitals.
func inCapitals(w string) bool {
	return len(w) > 1 && w == strings.ToUpper(w) && strings.IndexFunc(w, unicode.IsUpper) == 0
}

// language returns the lexicon of the language in Latin script that more words of the texts
// point to, or nil if none does.
func language(texts ...[]token) *lexicon {
	l := loadLexicons()
	switch en, de := votes(l.english, l.german, texts...), votes(l.german, l.english, texts...); {
	case en > de:
		return l.english
	case de > en:
		return l.german
	}
	return nil
}

// votes counts the words that tell the language of a lexicon and are not in another one.
func votes(l, other *lexicon, texts ...[]token) (n int) {
	for _, tokens := range texts {
		for _, t := range tokens {
			if t.text == "" || inCapitals(t.text) {
				continue
			}
			if _, both := other.known[t.word]; l.tells[t.word] && !both {
				n++
			}
		}
	}
	return n
}

// classify looks up the words that tokenise left unclassified. Function words in capitals
// stay content words: IT and US are not pronouns.
func classify(tokens []token, l *lexicon) {
	for i, t := range tokens {
		if l == nil || t.kind != content || t.text == "" {
			continue
		}
		known := l.token(t.word)
		if known.kind != content && inCapitals(t.text) {
			tokens[i].form, tokens[i].word = t.text, ""
			continue
		}
		if t.text == "A" && i > 0 && tokens[i-1].kind != stop || known.kind == article && endsClause(tokens, i) {
			continue // vitamin A
		}
		tokens[i].kind = known.kind
		if known.kind != content {
			tokens[i].form = known.form
		}
		if l == loadLexicons().german && t.text != t.word && formal[t.word] && i > 0 && tokens[i-1].kind != stop {
			tokens[i].form = t.text
			if t.word == "sie" {
				tokens[i].word = t.text // rules tell it from the "sie" of others
			}
		}
	}
}

// endsClause reports whether a token is the last one of its clause.
func endsClause(tokens []token, at int) bool {
	return at+1 == len(tokens) || tokens[at+1].kind == stop
}

// formal lists the German pronouns that are a polite "you" when capitalised inside a
// sentence.
var formal = map[string]bool{"sie": true, "ihr": true, "ihnen": true, "ihre": true, "ihren": true, "ihrem": true, "ihrer": true, "ihres": true}

// isIdentifier reports whether a field is not a word but code, an address or a file name:
// it has symbols, dots or digits inside, or a capital after a small letter.
func isIdentifier(field string) bool {
	if _, known := loadLexicons().shared.known[strings.ToLower(field)]; known {
		return false
	}
	if strings.HasPrefix(field, "-") && len(field) > 1 {
		return true // a command's option
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
