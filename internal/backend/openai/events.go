package openai

import (
	"bytes"
	"strings"

	"ollama-mcp/internal/backend/remote"
)

// events reads the events of a body. It goes by the standard for event streams
// (https://html.spec.whatwg.org/multipage/server-sent-events.html), and takes what servers
// make of it as well: a last event that no blank line ends, events with no blank line
// between them, and JSON outside of any event, which may be a whole answer, or an error in
// the place of an event.
type events struct {
	lines *remote.Lines
	hold  func(bytes int) error // takes memory for data

	began bool   // the first line has been read
	odd   bool   // a line was left out that belongs to no event stream
	back  []byte // a line that was read and belongs to the next event; nil for none

	name string // of the event that is being read
	data []byte // its data, as far as it has been read
	json nesting
}

const (
	byteOrderMark = "\ufeff"
	doneMark      = "[DONE]" // the data of the event behind the last one
)

// next returns the name and the data of the next event that has data. The data is valid
// until the next call. After the last event comes the error that the body ended with.
func (e *events) next() (name string, data []byte, err error) {
	e.name, e.data, e.json = "", e.data[:0], nesting{}
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
			if bare = beginsJSON(value); !bare {
				e.odd = e.odd || len(value) > 0
				continue
			}
		case !isField && e.isWhole():
			if value = bytes.TrimLeft(line, " \t"); beginsJSON(value) {
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
		if isDone(e.data) || bare && e.isWhole() {
			return e.name, e.data, nil
		}
	}
}

// line returns the next line, without the byte order mark that the first may have.
func (e *events) line() ([]byte, error) {
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

func beginsJSON(line []byte) bool { return len(line) > 0 && (line[0] == '{' || line[0] == '[') }

func isDone(data []byte) bool { return strings.EqualFold(string(bytes.TrimSpace(data)), doneMark) }

// mayBeError reports whether data that is no JSON may be an error, and does not just keep the
// connection alive.
func mayBeError(data []byte) bool {
	return bytes.Contains(bytes.ToLower(data), []byte("error")) || bytes.Contains(bytes.ToLower(data), []byte("exception"))
}

// add adds a line to the data.
func (e *events) add(line []byte) error {
	need := len(e.data) + 1 + len(line)
	if need > e.lines.Max()+1 {
		return remote.ErrLongLine
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
func (e *events) isWhole() bool { return e.json.isWhole(e.data) }

// nesting follows a JSON text that grows, to see where a value ends. It does not check the
// text.
type nesting struct {
	seen             int // bytes that were looked at
	depth            int // objects and lists that are open
	begun            bool
	inText, afterEsc bool
}

// isWhole reports whether all objects and lists of a text are closed, and there is one. The
// text begins with that of the call before.
func (n *nesting) isWhole(text []byte) bool {
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
