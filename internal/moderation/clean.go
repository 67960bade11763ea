package moderation

import (
	"strings"
	"unicode"
)

// Clean removes from a model's text the characters that no reader sees, but
// that another model would obey or a terminal would execute: control
// characters, tag characters and marks that change the direction of writing.
// Joiners stay, since scripts and emoji need them.
func Clean(text string) string {
	if isPlain(text) {
		return text
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return r
		case unicode.IsControl(r),
			r >= 0xE0000 && r <= 0xE007F, // tags
			r >= 0x202A && r <= 0x202E,   // embeddings and overrides
			r >= 0x2066 && r <= 0x2069:   // isolates
			return -1
		}
		return r
	}, text)
}

// IsBlank reports whether a reader sees nothing of a text: it is empty, or only white space,
// joiners, marks and other characters without a shape.
func IsBlank(text string) bool {
	const blankBraille = '\u2800' // a symbol by its category, but without dots
	return strings.IndexFunc(text, func(r rune) bool {
		return r != blankBraille && !unicode.IsControl(r) &&
			!unicode.In(r, unicode.White_Space, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
	}) < 0
}

// CleanValue does the same for all strings in a decoded JSON value, names
// included. It may change lists in place.
func CleanValue(value any) any {
	switch v := value.(type) {
	case string:
		return Clean(v)
	case []any:
		for i, element := range v {
			v[i] = CleanValue(element)
		}
	case map[string]any:
		cleaned := make(map[string]any, len(v))
		for name, member := range v {
			cleaned[Clean(name)] = CleanValue(member)
		}
		return cleaned
	}
	return value
}

// isPlain reports whether a text is printable ASCII and line breaks only, as
// most are.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c > '~' || c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}
