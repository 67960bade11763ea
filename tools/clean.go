package tools

import (
	"strings"
	"unicode"
)

// clean removes from a model's text what no reader sees but another model would
// obey or a terminal would run: control characters, tag characters and marks
// that turn the direction of writing. Joiners stay, since scripts and emoji
// need them.
func clean(text string) string {
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

// cleanAll cleans all texts in a value that came in JSON.
func cleanAll(value any) any {
	switch v := value.(type) {
	case string:
		return clean(v)
	case []any:
		for i, element := range v {
			v[i] = cleanAll(element)
		}
	case map[string]any:
		cleaned := make(map[string]any, len(v))
		for name, member := range v {
			cleaned[clean(name)] = cleanAll(member)
		}
		return cleaned
	}
	return value
}

// isPlain reports whether a text is printable ASCII on lines, as most are.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c > '~' || c < ' ' && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}
