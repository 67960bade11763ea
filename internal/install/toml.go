package install

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// tomlFormat is TOML.
type tomlFormat struct{}

func (tomlFormat) parse(text []byte) (any, error) {
	settings := make(map[string]any)
	if err := toml.Unmarshal(text, &settings); err != nil {
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, column := at.Position()
			return nil, fmt.Errorf("line %d, column %d: %w", line, column, err)
		}
		return nil, err
	}
	return settings, nil
}

func (f tomlFormat) set(text []byte, path []string, value any) ([]byte, error) {
	lines, err := scanTOML(text)
	if err != nil {
		return nil, err
	}
	newline := "\n"
	if bytes.Contains(text, []byte("\r\n")) {
		newline = "\r\n"
	}
	table := -1 // the innermost one that is on the path
	for i, l := range lines {
		switch {
		case !l.isTable && slices.Equal(l.path, path):
			return splice(text, l.begin, l.end, key(l.key)+" = "+renderTOML(value)), nil
		case !l.isTable && isWithin(path, l.path):
			return f.setInline(text, l, path, value)
		case l.isTable && slices.Equal(l.path, path):
			return nil, fmt.Errorf("%q is a table", key(path))
		case l.isTable && !l.isList && isWithin(path, l.path) && (table < 0 || len(l.path) > len(lines[table].path)):
			table = i
		}
	}
	// A new server gets a table of its own, at the end.
	if settings, ok := value.(members); ok && (table < 0 || len(lines[table].path) < len(path)-1) {
		var b strings.Builder
		if trimmed := bytes.TrimRight(text, " \t\r\n"); len(trimmed) > 0 {
			text = trimmed
			b.WriteString(newline + newline)
		}
		b.WriteString("[" + key(path) + "]" + newline)
		for _, m := range settings {
			b.WriteString(key([]string{m.name}) + " = " + renderTOML(m.value) + newline)
		}
		return append(bytes.Clone(text), b.String()...), nil
	}
	if table < 0 {
		return nil, fmt.Errorf("there is no table for %q", key(path))
	}
	after := lines[table]
	for _, l := range lines[table+1:] {
		if l.isTable {
			break
		}
		after = l
	}
	at := after.end + endOfLine(text[after.end:])
	added := newline + key(path[len(lines[table].path):]) + " = " + renderTOML(value)
	return splice(text, at, at, added), nil
}

// setInline sets a value within an inline table.
func (f tomlFormat) setInline(text []byte, l tomlLine, path []string, value any) ([]byte, error) {
	settings, err := f.parse(text[l.begin:l.end])
	if err != nil {
		return nil, err
	}
	object, ok := lookUp(settings, l.key).(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%q is not a table", key(l.path))
	}
	inner := object
	rest := path[len(l.path):]
	for _, name := range rest[:len(rest)-1] {
		next, ok := inner[name].(map[string]any)
		if !ok {
			next = make(map[string]any)
			inner[name] = next
		}
		inner = next
	}
	last := rest[len(rest)-1]
	if reflect.DeepEqual(inner[last], plainTOML(value)) {
		return text, nil // as it is written
	}
	inner[last] = value
	return splice(text, l.begin, l.end, key(l.key)+" = "+renderTOML(object)), nil
}

func (f tomlFormat) remove(text []byte, path []string) ([]byte, error) {
	lines, err := scanTOML(text)
	if err != nil {
		return nil, err
	}
	for i := len(lines) - 1; i >= 0; i-- { // From the end, so that offsets stay right.
		l := lines[i]
		switch {
		case l.isTable && isWithin(l.path, path):
			last := l
			for _, next := range lines[i+1:] {
				if next.isTable {
					break
				}
				last = next
			}
			text = cutLines(text, l.begin, last.end, true)
		case !l.isTable && isWithin(l.path, path) && !isWithin(l.table(), path):
			text = cutLines(text, l.begin, l.end, false)
		case !l.isTable && isWithin(path, l.path):
			return f.removeInline(text, l, path)
		}
	}
	return text, nil
}

// cutLines cuts out the lines of a range, and if above, the empty lines above them.
func cutLines(text []byte, begin, end int, above bool) []byte {
	begin = bytes.LastIndexByte(text[:begin], '\n') + 1
	end += endOfLine(text[end:])
	if newline := bytes.IndexByte(text[end:], '\n'); newline >= 0 {
		end += newline + 1
	} else {
		end = len(text)
	}
	if kept := bytes.TrimRight(text[:begin], " \t\r\n"); above && len(kept) > 0 {
		begin = len(kept) + bytes.IndexByte(text[len(kept):], '\n') + 1
	}
	return splice(text, begin, end, "")
}

// removeInline removes a value from an inline table.
func (f tomlFormat) removeInline(text []byte, l tomlLine, path []string) ([]byte, error) {
	settings, err := f.parse(text[l.begin:l.end])
	if err != nil {
		return nil, err
	}
	object, ok := lookUp(settings, l.key).(map[string]any)
	if !ok {
		return text, nil
	}
	left := without(object, path[len(l.path):])
	return splice(text, l.begin, l.end, key(l.key)+" = "+renderTOML(left)), nil
}

// tomlLine is an expression: the head of a table, or a key with its value.
type tomlLine struct {
	isTable, isList bool
	key             []string // as it is written
	path            []string // from the top
	begin, end      int      // without blanks and comments
}

func scanTOML(text []byte) ([]tomlLine, error) {
	var p unstable.Parser
	p.Reset(text)
	var lines []tomlLine
	var table []string
	for p.NextExpression() {
		e := p.Expression()
		l := tomlLine{isTable: e.Kind != unstable.KeyValue, isList: e.Kind == unstable.ArrayTable}
		first := -1
		for keys := e.Key(); keys.Next(); {
			if first < 0 {
				first = int(keys.Node().Raw.Offset)
			}
			l.key = append(l.key, string(keys.Node().Data))
			l.end = int(keys.Node().Raw.Offset + keys.Node().Raw.Length)
		}
		if l.isTable {
			table = l.key
			l.path = l.key
			l.begin = bytes.LastIndexByte(text[:first], '[')
			if l.isList {
				l.begin--
			}
			for l.end < len(text) && (text[l.end] == ']' || text[l.end] == ' ' || text[l.end] == '\t') {
				l.end++
			}
		} else {
			l.path = slices.Concat(table, l.key)
			l.begin, l.end = int(e.Raw.Offset), int(e.Raw.Offset+e.Raw.Length)
		}
		lines = append(lines, l)
	}
	return lines, p.Error()
}

// endOfLine returns how far the end of the line is, without its line end.
func endOfLine(text []byte) int {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return len(bytes.TrimRight(line, "\r"))
}

// table is the path of the table that a key is in.
func (l tomlLine) table() []string { return l.path[:len(l.path)-len(l.key)] }

// isWithin reports whether a path is another, or goes on from it.
func isWithin(path, outer []string) bool {
	return len(path) >= len(outer) && slices.Equal(path[:len(outer)], outer)
}

// key writes a dotted key.
func key(parts []string) string {
	written := make([]string, len(parts))
	for i, part := range parts {
		written[i] = part
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
			written[i] = quote(part)
		}
	}
	return strings.Join(written, ".")
}

// plainTOML is a value of ours as the TOML library takes it.
func plainTOML(value any) any {
	v, ok := value.(members)
	if !ok {
		return value
	}
	object := make(map[string]any, len(v))
	for _, m := range v {
		object[m.name] = plainTOML(m.value)
	}
	return object
}

// renderTOML writes a value of ours, or one that was parsed, on one line.
func renderTOML(value any) string {
	switch v := value.(type) {
	case members:
		if len(v) == 0 {
			return "{}"
		}
		pairs := make([]string, len(v))
		for i, m := range v {
			pairs[i] = key([]string{m.name}) + " = " + renderTOML(m.value)
		}
		return "{ " + strings.Join(pairs, ", ") + " }"
	case map[string]any:
		var sorted members
		for _, name := range slices.Sorted(maps.Keys(v)) {
			sorted = append(sorted, member{name, v[name]})
		}
		return renderTOML(sorted)
	case []string:
		return renderList(v)
	case []any:
		return renderList(v)
	case string:
		if strings.Contains(v, `\`) && !strings.Contains(v, "'") && !strings.ContainsFunc(v, unicode.IsControl) {
			return "'" + v + "'" // so that a path on Windows stays as people know it
		}
		return quote(v)
	case float64:
		text := strings.ToLower(strconv.FormatFloat(v, 'g', -1, 64))
		if !strings.ContainsAny(text, ".en") { // it looks like a whole number, and is neither inf nor nan
			text += ".0"
		}
		return text
	case time.Time:
		return v.Format(time.RFC3339Nano)
	default: // numbers, truth, and times and dates of no zone
		return fmt.Sprint(v)
	}
}

func renderList[T any](items []T) string {
	written := make([]string, len(items))
	for i, item := range items {
		written[i] = renderTOML(item)
	}
	return "[" + strings.Join(written, ", ") + "]"
}
