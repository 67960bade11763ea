package config

import (
	"errors"
	"slices"
	"strings"
)

// choice is a value that is one of a few words.
type choice struct {
	value *string
	from  []string
}

// oneOf declares an option whose value is one of a few words, the first by default. Either
// each word has a colon and its meaning behind it, or none has.
func oneOf(fs *FlagSet, value *string, name, usage string, from ...string) {
	words, explained := make([]string, len(from)), false
	for i, line := range from {
		words[i], _, explained = strings.Cut(line, ": ")
	}
	list := " " + alternatives(words)
	if explained {
		list = "\n" + strings.Join(from, "\n")
	}
	*value = words[0]
	fs.Var(choice{value, words}, name, usage+":"+list)
}

// Set implements pflag.Value.
func (c choice) Set(s string) error {
	if !slices.Contains(c.from, s) {
		return errors.New("must be " + alternatives(c.from))
	}
	*c.value = s
	return nil
}

func (c choice) String() string { return *c.value }

// Type implements pflag.Value.
func (choice) Type() string { return "choice" }

// alternatives joins at least two words: "a, b or c".
func alternatives(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
