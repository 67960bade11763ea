package jsonrpc

import (
	"math/bits"
	"unicode/utf8"
)

// AppendString appends a text as a JSON string, to the byte as json.Marshal writes it. It
// takes half as long, since it looks at eight bytes at a time, and copies what stands for
// itself in one piece.
func AppendString(to []byte, text string) []byte {
	to = append(to, '"')
	copied := 0
	for i := plain(text, 0); i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if !standsForItself(r, size) {
			to = appendEscape(append(to, text[copied:i]...), r)
			copied = i + size
		}
		if i += size; i < len(text) && text[i] < utf8.RuneSelf {
			i = plain(text, i)
		}
	}
	return append(append(to, text[copied:]...), '"')
}

// plain returns where, from i on, the first byte of a text is that may not stand for itself.
func plain(text string, i int) int {
	for ; i+8 <= len(text); i += 8 {
		if special := specials(word(text[i : i+8])); special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for i < len(text) && specials(uint64(text[i])|spaces&^0xff) == 0 {
		i++
	}
	return i
}

// word is eight bytes, the first in its lowest bits.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

const (
	ones   = 0x0101010101010101
	highs  = ones << 7
	spaces = ones * ' '
)

// specials has the highest bit set of each byte of w that is no printable ASCII, or one
// of those that json.Marshal escapes. To subtract borrows from the bytes above one that
// is special: they may be wrongly marked, and the lowest mark is right.
func specials(w uint64) uint64 {
	quoteOrAnd := (w | ones*('"'^'&')) ^ ones*('"'|'&') // 0 where w has one of the two, which differ in a bit
	lessOrMore := (w | ones*('<'^'>')) ^ ones*('<'|'>')
	backslash := w ^ ones*'\\'
	return (w | (w - spaces) | (quoteOrAnd - ones) | (lessOrMore - ones) | (backslash - ones)) & highs
}

// standsForItself reports whether a character of that many bytes needs no escape in JSON
// that may end up in a script.
func standsForItself(r rune, size int) bool {
	if r < utf8.RuneSelf {
		return r >= ' ' && r != '"' && r != '\\' && r != '<' && r != '>' && r != '&'
	}
	isByte := r == utf8.RuneError && size == 1 // that is no UTF-8
	return !isByte && r != '\u2028' && r != '\u2029'
}

func appendEscape(to []byte, r rune) []byte {
	const letters, hex = "btn\x00fr", "0123456789abcdef" // of the characters from \b on
	switch {
	case r == '"' || r == '\\':
		return append(to, '\\', byte(r))
	case r >= '\b' && r <= '\r' && r != '\v':
		return append(to, '\\', letters[r-'\b'])
	}
	return append(to, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
