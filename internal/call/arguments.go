package call

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// sources are the places outside the command line that values can come from.
type sources struct {
	file  func(name string) ([]byte, error)
	stdin func() ([]byte, error) // nil once it has been read
}

// arguments reads key=value pairs by the tool's schema. It adds the members of object, which
// is JSON or empty, that the pairs do not give.
func (from *sources) arguments(s *schema, pairs []string, object string) (map[string]any, error) {
	args := map[string]any{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("argument %q is not of the form key=value", pair)
		}
		if err := from.set(args, s, strings.Split(key, "."), value); err != nil {
			return nil, fmt.Errorf("argument %q: %w", key, err)
		}
	}
	if object == "" {
		return args, nil
	}
	value, err := parse(object)
	more, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("arguments in JSON: %w", isNot(object, err, "object"))
	}
	add(args, more)
	return args, nil
}

// add adds members that an object lacks, and that the objects inside it lack.
func add(object, more map[string]any) {
	for name, value := range more {
		old, ok := object[name]
		if !ok {
			object[name] = value
			continue
		}
		inner, ok := old.(map[string]any)
		if moreInner, too := value.(map[string]any); ok && too {
			add(inner, moreInner)
		}
	}
}

// set sets the value at a path, and creates the objects on the way.
func (from *sources) set(object map[string]any, s *schema, path []string, value string) error {
	name := path[0]
	s = s.property(name)
	old, again := object[name]
	if len(path) > 1 {
		inner, ok := old.(map[string]any)
		if again && !ok {
			return fmt.Errorf("%q has another value already", name)
		}
		if !again {
			inner = map[string]any{}
			object[name] = inner
		}
		return from.set(inner, s, path[1:], value)
	}
	v, err := from.value(name, s, value)
	if err != nil {
		return err
	}
	if again {
		if !slices.Contains(s.types(), "array") {
			return errors.New("given twice")
		}
		v = append(list(old), list(v)...)
	}
	object[name] = v
	return nil
}

func list(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	return []any{v}
}

// value returns the value that a text stands for.
func (from *sources) value(name string, s *schema, text string) (any, error) {
	if literal, ok := strings.CutPrefix(text, "@@"); ok {
		return s.read("@" + literal)
	}
	data, outside, err := from.fetch(text)
	switch {
	case err != nil:
		return nil, err
	case outside && name == "images":
		return []any{base64.StdEncoding.EncodeToString(data)}, nil
	case !utf8.Valid(data):
		return nil, errors.New("neither text nor JSON, as its bytes are not UTF-8")
	}
	return s.read(string(data))
}

// fetch returns the text itself, or the contents of the file or input that it refers to.
func (from *sources) fetch(text string) (data []byte, outside bool, err error) {
	if name, ok := strings.CutPrefix(text, "@"); ok {
		data, err = from.file(name)
		return data, true, err
	}
	if text != "-" {
		return []byte(text), false, nil
	}
	if from.stdin == nil {
		return nil, true, errors.New("standard input can be read only once")
	}
	data, err = from.stdin()
	from.stdin = nil
	return data, true, err
}
