package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"ollama-mcp/internal/nearest"
)

// The library can decode into structs, but then tells neither the line of what it
// accepts, which later checks need, nor which key may have been meant. So files
// are read node by node, each kind of value by a function.

// value reads one value of a file. The node is no alias and not null.
type value func(*yaml.Node) error

// fields are the keys that a mapping may have.
type fields map[string]value

// lineError is an error with the line that it is about.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return strconv.Itoa(e.line) + ": " + e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

// atLine gives an error a line and says what it is about, unless it has a line
// already, which is nearer.
func atLine(line int, about string, err error) error {
	if _, has := errors.AsType[*lineError](err); has || err == nil {
		return err
	}
	return &lineError{line, fmt.Errorf("%s: %w", about, err)}
}

// read reads the value that a node stands for. Null is refused, since a list whose
// items were all commented out looks like that, and no list often means no limit.
func read(n *yaml.Node, v value) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.ShortTag() == "!!null" {
		return errors.New("has no value; give it one or leave it out")
	}
	return v(n)
}

// read is a value: a mapping with these keys.
func (f fields) read(n *yaml.Node) error {
	return mapping(func(key, n *yaml.Node) error {
		v, known := f[key.Value]
		if !known {
			return &lineError{key.Line, fmt.Errorf("unknown key %s%s", key.Value, f.meant(key.Value))}
		}
		return read(n, v)
	})(n)
}

// meant names the key that an unknown one may have been meant to be.
func (f fields) meant(key string) string {
	near := nearest.Names(key, slices.Sorted(maps.Keys(f)), 1)
	if near == nil {
		return ""
	}
	return "; did you mean " + near[0] + "?"
}

// only reads the value of one key of a mapping, if it is there, and skips the others. No
// value at all reads like an empty one, and is for the reader of the whole mapping to refuse.
func only(key string, v value) value {
	return func(n *yaml.Node) error {
		found := false
		for pair := range slices.Chunk(n.Content, 2) {
			if n.Kind != yaml.MappingNode || pair[0].Value != key {
				continue
			}
			if found {
				return &lineError{pair[0].Line, errors.New(key + ": is given twice")}
			}
			found = true
			if pair[1].ShortTag() == "!!null" {
				continue
			}
			if err := atLine(pair[0].Line, key, read(pair[1], v)); err != nil {
				return err
			}
		}
		return nil
	}
}

// entries is a mapping whose keys are names that the user gives.
func entries(entry func(key, n *yaml.Node) error) value {
	return mapping(func(key, n *yaml.Node) error {
		return read(n, func(n *yaml.Node) error { return entry(key, n) })
	})
}

// mapping is one whose keys are all there once.
func mapping(entry func(key, n *yaml.Node) error) value {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.MappingNode {
			return errors.New("must be a mapping, of keys to values")
		}
		seen := make(map[string]bool)
		for pair := range slices.Chunk(n.Content, 2) {
			key := pair[0]
			if key.Kind != yaml.ScalarNode || key.Value == "" {
				return &lineError{key.Line, errors.New("a key must be a text")}
			}
			if seen[key.Value] {
				return &lineError{key.Line, errors.New(key.Value + ": is given twice")}
			}
			seen[key.Value] = true
			if err := atLine(key.Line, key.Value, entry(key, pair[1])); err != nil {
				return err
			}
		}
		return nil
	}
}

// list is a sequence of values.
func list(item value) value {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.SequenceNode {
			return errors.New("must be a list")
		}
		for i, n := range n.Content {
			if err := atLine(n.Line, fmt.Sprintf("item %d", i+1), read(n, item)); err != nil {
				return err
			}
		}
		return nil
	}
}

// oneOrList is a value, or a sequence of them.
func oneOrList(item value) value {
	return func(n *yaml.Node) error {
		if n.Kind == yaml.SequenceNode {
			return list(item)(n)
		}
		return item(n)
	}
}
