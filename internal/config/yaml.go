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

// The library can decode into structs, but then it gives neither the lines of accepted
// values, which later checks need, nor the known key that is nearest to an unknown one. So
// files are read node by node, with a function for each kind of value.

// value reads one value of a file. The node is no alias and not null.
type value func(*yaml.Node) error

// fields are the known keys of a mapping.
type fields map[string]value

// lineError is an error with the line that it is about.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return strconv.Itoa(e.line) + ": " + e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

// atLine adds a line and a subject to an error, unless it has a line already, which is more
// precise.
func atLine(line int, about string, err error) error {
	if _, has := errors.AsType[*lineError](err); has || err == nil {
		return err
	}
	return &lineError{line, fmt.Errorf("%s: %w", about, err)}
}

// read reads the value of a node. Null is refused: it is what remains of a list whose items
// are all commented out, and a missing list often means that there is no limit.
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

// meant suggests the known key that is nearest to an unknown one.
func (f fields) meant(key string) string {
	near := nearest.Names(key, slices.Sorted(maps.Keys(f)), 1)
	if near == nil {
		return ""
	}
	return "; did you mean " + near[0] + "?"
}

// only reads the value of one key of a mapping, if the key is present, and skips the others.
// Null counts as an empty value here; the reader of the whole mapping refuses it.
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

// entries is a mapping whose keys are names chosen by the user.
func entries(entry func(key, n *yaml.Node) error) value {
	return mapping(func(key, n *yaml.Node) error {
		return read(n, func(n *yaml.Node) error { return entry(key, n) })
	})
}

// mapping is a mapping whose keys are unique.
func mapping(entry func(key, n *yaml.Node) error) value {
	return func(n *yaml.Node) error {
		if n.Kind != yaml.MappingNode {
			return errors.New("must be a mapping of keys to values")
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

// oneOrList is a value, or a sequence of values.
func oneOrList(item value) value {
	return func(n *yaml.Node) error {
		if n.Kind == yaml.SequenceNode {
			return list(item)(n)
		}
		return item(n)
	}
}
