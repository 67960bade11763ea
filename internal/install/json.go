package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tailscale/hujson"
)

// jsonFormat is JSON in which comments and trailing commas are allowed, as most hosts have it.
type jsonFormat struct{}

func (jsonFormat) parse(text []byte) (any, error) {
	root, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	root.Standardize()
	decoder := json.NewDecoder(bytes.NewReader(root.Pack()))
	decoder.UseNumber()
	var v any
	return v, decoder.Decode(&v)
}

func (jsonFormat) set(text []byte, path []string, value any) ([]byte, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}\n")
	}
	root, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	parent, i, depth := find(root, path)
	object, ok := parent.Value.(*hujson.Object)
	s := styleOf(text)
	switch {
	case !ok:
		return nil, fmt.Errorf("%q is not an object", strings.Join(path[:depth], "."))
	case i >= 0:
		old := object.Members[i].Value
		return splice(text, old.StartOffset, old.EndOffset, s.render(value, indentAt(text, old.StartOffset))), nil
	}
	for rest := len(path) - 1; rest > depth; rest-- {
		value = members{{path[rest], value}}
	}
	return s.insert(text, parent, path[depth], value), nil
}

func (jsonFormat) remove(text []byte, path []string) ([]byte, error) {
	root, err := parseJSON(text)
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return text, err
	}
	parent, i, _ := find(root, path)
	if i < 0 {
		return text, nil
	}
	object := parent.Value.(*hujson.Object)
	m := object.Members[i]
	// From the end of the line before, so that comments above the member stay.
	begin := m.Name.StartOffset - len(m.Name.BeforeExtra) + len(bytes.TrimRight(m.Name.BeforeExtra, " \t\r\n"))
	end := m.Value.EndOffset
	last := i == len(object.Members)-1
	switch {
	case len(object.Members) == 1 && !isComment(m.Name.BeforeExtra) && !isComment(object.AfterExtra):
		begin, end = parent.StartOffset+1, parent.EndOffset-1
	case !last || m.Value.AfterExtra != nil: // A comma follows.
		end += len(m.Value.AfterExtra) + 1
	case i > 0: // The comma before goes too.
		before := object.Members[i-1].Value
		comma := before.EndOffset + len(before.AfterExtra)
		return splice(splice(text, begin, end, ""), comma, comma+1, ""), nil
	}
	return splice(text, begin, end, ""), nil
}

// isComment reports whether there is more than blanks between two values.
func isComment(extra []byte) bool { return len(bytes.TrimSpace(extra)) > 0 }

// parseJSON parses a text whose outermost value is an object.
func parseJSON(text []byte) (hujson.Value, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}")
	}
	root, err := hujson.Parse(bytes.Clone(text)) // which goes on to use its argument
	if err != nil {
		return root, errors.New(strings.TrimPrefix(err.Error(), "hujson: "))
	}
	if _, ok := root.Value.(*hujson.Object); !ok {
		return root, errors.New("its outermost value is not an object")
	}
	return root, nil
}

// find goes down the path as far as it exists, and returns the innermost object on it, and
// which of its members is the one at the end of the path; -1 for none. depth is how many
// objects are around that object.
func find(root hujson.Value, path []string) (parent hujson.Value, i, depth int) {
	parent = root
	for {
		object, ok := parent.Value.(*hujson.Object)
		if !ok {
			return parent, -1, depth
		}
		i = -1
		for n, m := range object.Members {
			if name, ok := m.Name.Value.(hujson.Literal); ok && name.String() == path[depth] {
				i = n // Of several with the name, readers take the last.
			}
		}
		if i < 0 || depth == len(path)-1 {
			return parent, i, depth
		}
		parent = object.Members[i].Value
		depth++
	}
}

// style is how a text is laid out.
type style struct {
	newline string // "" if the text is one line
	unit    string // of indentation
}

func styleOf(text []byte) style {
	s := style{newline: "\n", unit: "  "}
	first, rest, multiline := bytes.Cut(bytes.TrimRight(text, "\r\n\t "), []byte("\n"))
	if !multiline {
		if !bytes.Equal(bytes.TrimSpace(text), []byte("{}")) {
			s.newline = ""
		}
		return s
	}
	if bytes.HasSuffix(first, []byte("\r")) {
		s.newline = "\r\n"
	}
	if blank := len(rest) - len(bytes.TrimLeft(rest, " \t")); blank > 0 {
		s.unit = string(rest[:blank])
	}
	return s
}

// indentAt returns the blanks at the begin of the line of an offset.
func indentAt(text []byte, offset int) string {
	line := text[bytes.LastIndexByte(text[:offset], '\n')+1:]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// insert adds a member at the end of an object.
func (s style) insert(text []byte, parent hujson.Value, name string, value any) []byte {
	object := parent.Value.(*hujson.Object)
	if len(object.Members) == 0 {
		brace := parent.EndOffset - 1
		if s.newline == "" {
			return splice(text, brace, brace, s.member(name, value, ""))
		}
		outer := indentAt(text, parent.StartOffset)
		inner := outer + s.unit
		begin := len(bytes.TrimRight(text[:brace], " \t\r\n"))
		return splice(text, begin, brace, s.newline+inner+s.member(name, value, inner)+s.newline+outer)
	}
	last := object.Members[len(object.Members)-1]
	added := " " + s.member(name, value, "")
	if s.newline != "" {
		indent := indentAt(text, last.Name.StartOffset)
		added = s.newline + indent + s.member(name, value, indent)
	}
	end := last.Value.EndOffset
	if last.Value.AfterExtra != nil { // A comma follows the last member, and so it will.
		at := end + len(last.Value.AfterExtra) + 1 + lineOf(object.AfterExtra)
		return splice(text, at, at, added+",")
	}
	at := end + lineOf(object.AfterExtra)
	return splice(splice(text, at, at, added), end, end, ",")
}

// lineOf returns how much of what follows a value is a comment on the same line.
func lineOf(extra []byte) int {
	line, _, _ := bytes.Cut(extra, []byte("\n"))
	if bytes.Count(line, []byte("/*")) != bytes.Count(line, []byte("*/")) {
		return len(bytes.TrimRight(extra, " \t\r\n")) // The comment ends on another line.
	}
	return len(bytes.TrimRight(line, " \t\r"))
}

func (s style) member(name string, value any, indent string) string {
	return quote(name) + ": " + s.render(value, indent)
}

// render writes a value as JSON, whose lines after the first begin with the indent.
func (s style) render(value any, indent string) string {
	switch v := value.(type) {
	case members:
		var b strings.Builder
		for i, m := range v {
			if i > 0 {
				b.WriteString(",")
			}
			switch {
			case s.newline != "":
				b.WriteString(s.newline + indent + s.unit)
			case i > 0:
				b.WriteString(" ")
			}
			b.WriteString(s.member(m.name, m.value, indent+s.unit))
		}
		if s.newline != "" && len(v) > 0 {
			b.WriteString(s.newline + indent)
		}
		return "{" + b.String() + "}"
	case []string:
		quoted := make([]string, len(v))
		for i, text := range v {
			quoted[i] = quote(text)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case string:
		return quote(v)
	default:
		return fmt.Sprint(v)
	}
}

// quote writes a text as JSON, in which a path stays as people know it.
func quote(text string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // Text can always be encoded.
	return strings.TrimSpace(b.String())
}

func splice(text []byte, from, to int, with string) []byte {
	return bytes.Join([][]byte{text[:from], text[to:]}, []byte(with))
}
