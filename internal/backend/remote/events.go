package remote

import (
	"bytes"
	"strings"
)

// Events reads the events of a body. It goes by the standard for event streams
// (https://html.spec.whatwg.org/multipage/server-sent-events.html), and takes what servers
// make of it as well: a last event that no blank line ends, events with no blank line
// between them, and JSON outside of any event, which may be a whole answer, a line of one,
// or an error in the place of an event.
type Events struct {
	lines *Lines
	hold  func(bytes int) error // takes memory for data

	began bool   // the first line has been read
	odd   bool   // a line was left out that belongs to no event stream
	back  []byte // a line that was read and belongs to the next event; nil for none

	name string // of the event that is being read
	data []byte // its data, as far as it has been read
	json Nesting
}

const (
	byteOrderMark = "\ufeff"
	doneMark      = "[DONE]" // the data of the event behind the last one
)

// NewEvents returns the events in the lines of a body that are still to be read. Hold takes
// memory for the data of an event.
func NewEvents(lines *Lines, hold func(bytes int) error) *Events {
	return &Events{lines: lines, hold: hold}
}

// Odd reports whether a line was left out that belongs to no event stream.
func (e *Events) Odd() bool { return e.odd }

// Next returns the name and the data of the next event that has data. The data is valid
// until the next call. After the last event comes the error that the body ended with.
func (e *Events) Next() (name string, data []byte, err error) {
	e.name, e.data, e.json = "", e.data[:0], Nesting{}
	bare := false // the data is JSON outside of an event, which no blank line ends
	for {
		line, err := e.line()
		if err != nil {
			if e.isWhole() {
				return e.name, e.data, nil
			}
			return "", nil, err
		}
		field, value, isField := cutField(line)
		if bare && field == "" { // JSON may go on with a colon
			isField = false
		}
		switch {
		case len(line) == 0:
			if len(e.data) > 0 && !bare {
				return e.name, e.data, nil
			}
			if !bare {
				e.name = ""
			}
			continue
		case isField && (bare || field == "data" && e.isWhole()): // no blank line ends the event before it
			e.back = line
			return e.name, e.data, nil
		case field == "event":
			e.name = string(value)
			continue
		case isField && field != "data":
			continue
		case !isField && len(e.data) == 0:
			value = bytes.TrimLeft(line, " \t")
			if bare = BeginsJSON(value); !bare {
				e.odd = e.odd || len(value) > 0
				continue
			}
		case !isField && e.isWhole():
			if value = bytes.TrimLeft(line, " \t"); BeginsJSON(value) {
				e.back = line
				return e.name, e.data, nil
			}
			continue
		case !isField:
			value = line
		}
		if err := e.add(value); err != nil {
			return "", nil, err
		}
		if IsDone(e.data) || bare && e.isWhole() {
			return e.name, e.data, nil
		}
	}
}

// line returns the next line, without the byte order mark that the first may have.
func (e *Events) line() ([]byte, error) {
	if line := e.back; line != nil {
		e.back = nil
		return line, nil
	}
	line, err := e.lines.NextOfEvents()
	if err == nil && !e.began {
		e.began, line = true, bytes.TrimPrefix(line, []byte(byteOrderMark))
	}
	return line, err
}

// cutField cuts a line into the name of a field and its value. It is none if an event
// stream has no such field. A comment is a field without a name.
func cutField(line []byte) (field string, value []byte, ok bool) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch string(name) {
	case "", "data", "event", "id", "retry":
		return string(name), bytes.TrimPrefix(value, []byte(" ")), len(line) > 0
	}
	return "", nil, false
}

// BeginsJSON reports whether a line begins with a JSON object or list.
func BeginsJSON(line []byte) bool { return len(line) > 0 && (line[0] == '{' || line[0] == '[') }

// IsDone reports whether data is the mark behind the last event.
func IsDone(data []byte) bool { return strings.EqualFold(string(bytes.TrimSpace(data)), doneMark) }

// IsErrorName reports whether an event of that name is an error.
func IsErrorName(name string) bool {
	name = strings.NewReplacer("_", "", "-", "", " ", "", ".", "").Replace(strings.ToLower(name))
	return strings.HasSuffix(name, "error") || strings.HasSuffix(name, "exception")
}

// EachValue calls each with the parts of an event's data: JSON objects and lists, of which
// several may stand behind each other, and text that is neither, such as the mark of the
// end, or a word that keeps the connection alive.
func EachValue(data []byte, each func(part []byte, isJSON bool) error) error {
	for {
		data = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(data), []byte(byteOrderMark)))
		if len(data) == 0 {
			return nil
		}
		part, isJSON := data, BeginsJSON(data)
		if mark := data[:min(len(data), len(doneMark))]; IsDone(mark) {
			part = mark
		} else if isJSON {
			part = firstValue(data)
		}
		if err := each(part, isJSON); err != nil {
			return err
		}
		data = data[len(part):]
	}
}

// firstValue is the first of several JSON values, of which the first is an object or a list.
func firstValue(data []byte) []byte {
	var n Nesting
	for i := range data {
		if (data[i] == '}' || data[i] == ']') && n.IsWhole(data[:i+1]) {
			return data[:i+1]
		}
	}
	return data
}

// add adds a line to the data.
func (e *Events) add(line []byte) error {
	need := len(e.data) + 1 + len(line)
	if need > e.lines.Max()+1 {
		return ErrLongLine
	}
	if need > cap(e.data) {
		room := max(need, 2*cap(e.data), 512)
		if err := e.hold(room - cap(e.data)); err != nil {
			return err
		}
		e.data = append(make([]byte, 0, room), e.data...)
	}
	if len(e.data) > 0 {
		e.data = append(e.data, '\n')
	}
	e.data = append(e.data, line...)
	return nil
}

// isWhole reports whether the data is one JSON object or list, or several.
func (e *Events) isWhole() bool { return e.json.IsWhole(e.data) }

// Nesting follows a JSON text that grows, to see where a value ends. It does not check the
// text.
type Nesting struct {
	seen             int // bytes that were looked at
	depth            int // objects and lists that are open
	begun            bool
	inText, afterEsc bool
}

// IsWhole reports whether all objects and lists of a text are closed, and there is one. The
// text begins with that of the call before.
func (n *Nesting) IsWhole(text []byte) bool {
	for _, b := range text[n.seen:] {
		switch {
		case n.afterEsc:
			n.afterEsc = false
		case n.inText:
			n.afterEsc, n.inText = b == '\\', b != '"'
		case b == '"':
			n.inText = true
		case b == '{' || b == '[':
			n.depth, n.begun = n.depth+1, true
		case b == '}' || b == ']':
			n.depth--
		}
	}
	n.seen = len(text)
	return n.begun && n.depth <= 0 && !n.inText
}
