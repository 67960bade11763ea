// Package terminal says whether a file of this process is shown to a person, colours text for
// one, and makes texts of others safe to show.
package terminal

import (
	"os"
	"runtime"
	"strings"
	"unicode"
)

// Is reports whether a file is a terminal.
func Is(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// StyleOf returns the style of text written to a file: coloured on a terminal, unless NO_COLOR
// is set or the terminal is known to show no colours.
func StyleOf(f *os.File, getenv func(string) string) Style {
	switch {
	case getenv("NO_COLOR") != "" || getenv("TERM") == "dumb" || !Is(f):
		return false
	case runtime.GOOS == "windows": // its old console shows escape sequences as they are
		return getenv("WT_SESSION") != "" || getenv("TERM") != "" || getenv("ANSICON") != ""
	}
	return true
}

// Style says whether text is coloured. The zero value leaves text as it is.
type Style bool

// Red, Yellow, Green, Bold and Dim return the text in that colour or weight.
func (s Style) Red(text string) string    { return s.with("31", text) }
func (s Style) Yellow(text string) string { return s.with("33", text) }
func (s Style) Green(text string) string  { return s.with("32", text) }
func (s Style) Bold(text string) string   { return s.with("1", text) }
func (s Style) Dim(text string) string    { return s.with("2", text) }

func (s Style) with(code, text string) string {
	if !s || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Printable removes all that is not printed, such as control characters and line ends: a text of
// a host or a file must not control the terminal.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}
