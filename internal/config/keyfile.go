package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// This file edits files of keys for people, who may have written comments into them.

// keyName is what names of new keys have to be: they appear in logs and on command lines.
var keyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// CheckKeyName refuses names that a new key may not have.
func CheckKeyName(name string) error {
	if !keyName.MatchString(name) {
		return fmt.Errorf("%q must be 1 to 64 letters, digits, and . _ @ - after the first, since it stands for the key in logs", name)
	}
	return nil
}

// ParseKeys reads the text of a file of keys. A text without contents has none.
func ParseKeys(text []byte) ([]Key, error) {
	var c Config
	r := &reader{c: &c, fs: Flags(&c), getenv: func(string) string { return "" }}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	if err := document(text, list(r.key)); err != nil {
		return nil, err
	}
	return c.Keys, nil
}

// AddKey adds the line of a key to the text of a file of keys.
func AddKey(text []byte, line string) ([]byte, error) {
	if bytes.Equal(bytes.TrimSpace(text), []byte("[]")) {
		text = nil
	}
	edited := slices.Clone(text)
	if len(edited) > 0 && edited[len(edited)-1] != '\n' {
		edited = append(edited, '\n')
	}
	edited = append(edited, line+"\n"...)
	return edited, changes(text, edited, 1)
}

// RemoveKey removes the key of that name from the text of a file of keys, and leaves all the
// rest as it is.
func RemoveKey(text []byte, name string) ([]byte, error) {
	keys, err := ParseKeys(text)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(keys, func(k Key) bool { return k.Caller.ID == name })
	if at < 0 {
		return nil, fmt.Errorf("there is no key %q", name)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, err
	}
	items := root.Content[0].Content
	from, to := items[at].Line, lastLine(items[at])
	lines := strings.SplitAfter(string(text), "\n")
	edited := []byte(strings.Join(lines[:from-1], "") + strings.Join(lines[to:], ""))
	if len(keys) == 1 {
		edited = append(edited, "[]\n"...) // an empty file has no list, and so would be refused
	}
	return edited, changes(text, edited, -1)
}

// lastLine is the last line that a node takes.
func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, inner := range n.Content {
		last = max(last, lastLine(inner))
	}
	return last
}

// changes checks that an edit changed the number of keys by so many, and none of the others.
func changes(before, after []byte, by int) error {
	old, err := ParseKeys(before)
	if err != nil {
		return err
	}
	now, err := ParseKeys(after)
	byHand := errors.New("the file is written in a way that cannot be edited without changing something else; edit it by hand")
	if err != nil && by > 0 {
		return err
	}
	if err != nil || len(now) != len(old)+by {
		return byHand
	}
	few, many := old, now
	if by < 0 {
		few, many = now, old
	}
	for _, k := range few {
		if !slices.ContainsFunc(many, func(o Key) bool { return o.Caller.ID == k.Caller.ID && o.SHA256 == k.SHA256 }) {
			return byHand
		}
	}
	return nil
}
