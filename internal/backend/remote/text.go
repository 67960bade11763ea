package remote

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// This file keeps characters whole that a server has sent in two pieces. Servers that make a
// piece of each token cut a character where its tokens are, and send half of its UTF-8, or one
// of the two surrogates that a program in UTF-16 has for it. encoding/json makes U+FFFD of
// either half.

// Text is a text in JSON. The halves of characters in it are kept: bytes that are no UTF-8 as
// they came, and a surrogate in the three bytes that UTF-8 would have for it. An Assembly joins
// them with what follows.
type Text string

// UnmarshalJSON implements json.Unmarshaler. Null is an empty text.
func (t *Text) UnmarshalJSON(raw []byte) error {
	*t = ""
	if len(raw) < 2 || raw[0] != '"' {
		return json.Unmarshal(raw, (*string)(t))
	}
	inside := raw[1 : len(raw)-1]
	if bytes.IndexByte(inside, '\\') < 0 {
		*t = Text(inside)
		return nil
	}
	decoded, ok := Unescape(inside)
	if !ok {
		return json.Unmarshal(raw, (*string)(t)) // for its error
	}
	*t = Text(decoded)
	return nil
}

// Unescape replaces the escapes in what stands between the quotes of a JSON string. A surrogate
// that is not part of a pair becomes the three bytes that UTF-8 would have for it.
func Unescape(raw []byte) (text []byte, ok bool) {
	text = make([]byte, 0, len(raw))
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(text, raw...), true
		}
		text = append(text, raw[:i]...)
		raw = raw[i+1:]
		if len(raw) == 0 {
			return nil, false
		}
		const escapes, meanings = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
		if at := strings.IndexByte(escapes, raw[0]); at >= 0 {
			text = append(text, meanings[at])
			raw = raw[1:]
			continue
		}
		r, ok := hexRune(raw)
		if !ok {
			return nil, false
		}
		raw = raw[len("u0000"):]
		if !utf16.IsSurrogate(r) {
			text = utf8.AppendRune(text, r)
			continue
		}
		if len(raw) > 0 && raw[0] == '\\' {
			low, ok := hexRune(raw[1:])
			if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
				text = utf8.AppendRune(text, pair)
				raw = raw[len(`\u0000`):]
				continue
			}
		}
		text = append(text, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
	}
}

// hexRune decodes uXXXX at the beginning of raw.
func hexRune(raw []byte) (r rune, ok bool) {
	if len(raw) < 5 || raw[0] != 'u' {
		return 0, false
	}
	for _, b := range raw[1:5] {
		switch {
		case b >= '0' && b <= '9':
			b -= '0'
		case b >= 'a' && b <= 'f':
			b -= 'a' - 10
		case b >= 'A' && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(b)
	}
	return r, true
}

// joiner makes UTF-8 of pieces of text that may end within a character.
type joiner struct {
	rest string // the beginning of a character, whose end has not come yet
}

// join returns what is complete of the piece, behind what was left of the one before.
func (j *joiner) join(piece string) string {
	if j.rest == "" && utf8.ValidString(piece) {
		return piece
	}
	piece = j.rest + piece
	whole := len(piece) - unfinished(piece)
	j.rest = piece[whole:]
	return Valid(piece[:whole])
}

// end returns what stands for the rest if nothing follows.
func (j *joiner) end() string {
	rest := j.rest
	j.rest = ""
	return Valid(rest)
}

// unfinished is the number of bytes at the end of a text that may be the beginning of a character.
func unfinished(text string) int {
	for n := 1; n <= min(3, len(text)); n++ {
		tail := text[len(text)-n:]
		if utf8.RuneStart(tail[0]) {
			if tail[0] >= utf8.RuneSelf && !utf8.FullRuneInString(tail) || n == 3 && isHigh(tail) {
				return n
			}
			return 0
		}
	}
	return 0
}

// isHigh and isLow report whether a text begins with the first or second surrogate of a pair,
// in the three bytes that UTF-8 would have for it.
func isHigh(text string) bool {
	return len(text) >= 3 && text[0] == 0xed && text[1]&0xf0 == 0xa0 && text[2]&0xc0 == 0x80
}

func isLow(text string) bool {
	return len(text) >= 3 && text[0] == 0xed && text[1]&0xf0 == 0xb0 && text[2]&0xc0 == 0x80
}

// Valid is a text in UTF-8. Two surrogates of a pair become their character, and each run of
// bytes that is none becomes U+FFFD.
func Valid(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		switch r, size := utf8.DecodeRuneInString(text); {
		case r != utf8.RuneError || size > 1:
			b.WriteString(text[:size])
			text = text[size:]
		case isHigh(text) && isLow(text[3:]):
			b.WriteRune(utf16.DecodeRune(surrogate(text), surrogate(text[3:])))
			text = text[6:]
		case isHigh(text) || isLow(text):
			b.WriteRune(utf8.RuneError)
			text = text[3:]
		default:
			b.WriteRune(utf8.RuneError)
			text = text[1:]
		}
	}
	return b.String()
}

// surrogate is the one that a text begins with.
func surrogate(text string) rune {
	return rune(text[0]&0xf)<<12 | rune(text[1]&0x3f)<<6 | rune(text[2]&0x3f)
}
