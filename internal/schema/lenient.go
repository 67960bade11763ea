package schema

import (
	"bytes"
	"encoding/json"
	"math/big"
	"slices"
	"strings"

	"ollama-mcp/internal/nearest"
)

// Lenient returns, of arguments that are valid JSON, those that their caller meant, where these are written in a way
// that hosts and models are known to use and the schema does not allow:
//
//   - null, or a blank text where no text is allowed, is an argument that was left out;
//   - a text in which JSON stands is that JSON, wherever the text itself is not allowed;
//   - an empty list is an empty object, where only an object is allowed, and the other way round;
//   - a member of an object in a list that is null or an empty list is left out if it is not known;
//   - a list of text parts, as OpenAI's API has them, is their text, where a text is allowed;
//   - 10.0 is 10, where a whole number is required;
//   - a value is a list of that one value, where only lists of such are allowed;
//   - upper and lower case are the same, where a text has to be one of those that are listed,
//     and so are names of roles in other APIs.
//
// It changes nothing else, so that a value which it cannot make sense of is refused as the
// caller wrote it. JSON without a schema of its own, such as a caller's JSON schema, keeps
// every byte. Unknown arguments that are null, or for which added returns true, are removed and
// named in their order; a tool without arguments ignores them all.
func (s *Schema) Lenient(raw json.RawMessage, added func(name string) bool) (meant json.RawMessage, removed []string) {
	meant = lenient(s.doc, bytes.TrimSpace(raw))
	switch {
	case isBlank(meant) || meant[0] == 'n':
		meant = json.RawMessage("{}")
	case meant[0] != '{':
		return meant, nil
	}
	kept := membersOf(meant)
	kept = slices.DeleteFunc(kept, func(m member) bool {
		extra := s.doc.Properties[m.name] == nil && (len(s.doc.Properties) == 0 || m.value[0] == 'n' || added(m.name))
		if extra {
			removed = append(removed, m.name)
		}
		return extra
	})
	return object(kept), removed
}

// lenient returns what a value of the document is meant to be.
func lenient(doc *Document, raw json.RawMessage) json.RawMessage {
	if doc == nil || doc.Type == "" && len(doc.AnyOf) == 0 {
		return raw // any JSON
	}
	meant := lenientValue(doc, raw)
	list := alternative(doc, "array")
	if allows(doc, meant) || list == nil || list.Items == nil || isBlank(meant) || meant[0] == 'n' {
		return meant
	}
	if item := lenientItem(list.Items, meant); allows(list.Items, item) {
		return slices.Concat([]byte("["), item, []byte("]"))
	}
	return meant
}

func lenientValue(doc *Document, raw json.RawMessage) json.RawMessage {
	switch raw[0] {
	case '"':
		return lenientText(doc, raw)
	case '{':
		if of := alternative(doc, "object"); of != nil && len(of.Properties) > 0 {
			return lenientObject(of, raw)
		}
		if alternative(doc, "object") == nil && alternative(doc, "array") != nil && string(compact(raw)) == "{}" {
			return json.RawMessage("[]")
		}
	case '[':
		of := alternative(doc, "array")
		switch {
		case of != nil:
			return lenientList(of, raw)
		case alternative(doc, "object") != nil && string(compact(raw)) == "[]":
			return json.RawMessage("{}")
		case alternative(doc, "string") != nil:
			return textOfParts(raw)
		}
	case 't', 'f', 'n':
	default:
		if alternative(doc, "integer") != nil && alternative(doc, "number") == nil {
			return whole(raw)
		}
	}
	return raw
}

func lenientText(doc *Document, raw json.RawMessage) json.RawMessage {
	if allows(doc, raw) {
		return raw
	}
	inner := strings.TrimSpace(textOf(raw))
	if listed, ok := listedAs(doc, inner); ok {
		return MustMarshal(listed)
	}
	if lower := strings.ToLower(inner); lower == "true" || lower == "false" { // Python writes True
		inner = lower
	}
	if !json.Valid([]byte(inner)) {
		return raw
	}
	if meant := lenient(doc, json.RawMessage(inner)); meant[0] == 'n' || allows(doc, meant) {
		return meant
	}
	return raw
}

// roles are the names that other APIs have for roles of messages: OpenAI's for instructions,
// LangChain's and Google's.
var roles = map[string]string{"developer": "system", "human": "user", "ai": "assistant", "model": "assistant"}

// listedAs returns the listed text of the document that differs from a text in upper and lower
// case alone, or that is another name for the same role.
func listedAs(doc *Document, text string) (listed string, ok bool) {
	of := alternative(doc, "string")
	if of == nil {
		return "", false
	}
	if role := roles[strings.ToLower(text)]; role != "" {
		text = role
	}
	for _, value := range of.Enum {
		if listed, ok := value.(string); ok && strings.EqualFold(listed, text) {
			return listed, true
		}
	}
	return "", false
}

func lenientObject(doc *Document, raw json.RawMessage) json.RawMessage {
	var kept []member
	changed := false
	for _, m := range membersOf(raw) {
		p := doc.Properties[m.name]
		meant := lenient(p, m.value)
		optional := !slices.Contains(doc.Required, m.name)
		leftOut := p != nil && (meant[0] == 'n' || optional && isBlank(meant) && !allows(p, meant))
		changed = changed || leftOut || !bytes.Equal(meant, m.value)
		if !leftOut {
			kept = append(kept, member{m.name, meant})
		}
	}
	if !changed {
		return raw
	}
	return object(kept)
}

func lenientList(doc *Document, raw json.RawMessage) json.RawMessage {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil || doc.MaxItems != nil && len(items) > *doc.MaxItems {
		return raw
	}
	changed := false
	for i, item := range items {
		items[i] = lenientItem(doc.Items, item)
		changed = changed || !bytes.Equal(items[i], item)
	}
	if !changed {
		return raw
	}
	return slices.Concat([]byte("["), bytes.Join(asBytes(items), []byte(",")), []byte("]"))
}

// lenientItem returns what a value in a list is meant to be. Of an object it leaves out what is null or an empty list
// and the schema does not know: OpenAI's SDKs give messages all members that they might have. Misspelled names stay.
func lenientItem(doc *Document, raw json.RawMessage) json.RawMessage {
	of := alternative(doc, "object")
	if of == nil || of.AdditionalProperties == nil || raw[0] != '{' {
		return lenient(doc, raw)
	}
	all := membersOf(raw)
	kept := slices.DeleteFunc(slices.Clone(all), func(m member) bool {
		return of.Properties[m.name] == nil && (m.value[0] == 'n' || string(compact(m.value)) == "[]") && len(nearest.Names(m.name, of.PropertyOrder, 1)) == 0
	})
	if len(kept) < len(all) {
		raw = object(kept)
	}
	return lenient(doc, raw)
}

// textOfParts returns the text of a list like [{"type":"text","text":"…"}], and any other
// list as it is.
func textOfParts(raw json.RawMessage) json.RawMessage {
	var parts []struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) != nil || len(parts) == 0 {
		return raw
	}
	var text strings.Builder
	for _, p := range parts {
		if p.Type != "text" || p.Text == nil {
			return raw
		}
		text.WriteString(*p.Text)
	}
	return MustMarshal(text.String())
}

// whole returns a number without its fraction and exponent, if it is a whole one of at most
// 64 bits.
func whole(raw json.RawMessage) json.RawMessage {
	if !bytes.ContainsAny(raw, ".eE") || len(raw) > 32 {
		return raw
	}
	f, _, err := big.ParseFloat(string(raw), 10, 128, big.ToNearestEven)
	if err != nil || !f.IsInt() {
		return raw
	}
	n, exact := f.Int64()
	if exact != big.Exact {
		return raw
	}
	return MustMarshal(n)
}

// allows reports whether the document allows values of this kind: a text has to be one of
// those that are listed, if any are, and not empty if that is forbidden.
func allows(doc *Document, raw json.RawMessage) bool {
	if doc.Type == "" && len(doc.AnyOf) == 0 {
		return true
	}
	switch raw[0] {
	case '"':
		text := textOf(raw)
		fits := func(d *Document) bool {
			return d.Type == "string" && (d.MinLength == nil || text != "") && (d.Enum == nil || slices.Contains(d.Enum, any(text)))
		}
		return fits(doc) || slices.ContainsFunc(doc.AnyOf, fits)
	case '{':
		return alternative(doc, "object") != nil
	case '[':
		return alternative(doc, "array") != nil
	case 't', 'f':
		return alternative(doc, "boolean") != nil
	case 'n':
		return false
	}
	return alternative(doc, "number") != nil || alternative(doc, "integer") != nil
}

// alternative returns the part of the document that describes values of a type; nil if
// there is none.
func alternative(doc *Document, kind string) *Document {
	if doc.Type == kind {
		return doc
	}
	for _, choice := range doc.AnyOf {
		if choice.Type == kind {
			return choice
		}
	}
	return nil
}

type member struct {
	name  string
	value json.RawMessage
}

// membersOf returns the members of a JSON object in their order; none of anything else. Of two
// with one name the last counts, as in encoding/json.
func membersOf(raw json.RawMessage) []member {
	var members []member
	at := make(map[string]int)
	dec := json.NewDecoder(bytes.NewReader(raw))
	if brace, err := dec.Token(); err != nil || brace != json.Delim('{') {
		return nil
	}
	for dec.More() {
		name, err := dec.Token()
		var m member
		if err != nil || dec.Decode(&m.value) != nil {
			return members
		}
		m.name, _ = name.(string)
		if i, again := at[m.name]; again {
			members[i] = m
			continue
		}
		at[m.name] = len(members)
		members = append(members, m)
	}
	return members
}

func object(members []member) json.RawMessage {
	raw := []byte("{")
	for i, m := range members {
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = append(append(append(raw, MustMarshal(m.name)...), ':'), m.value...)
	}
	return append(raw, '}')
}

// isBlank reports whether a value is a text without any characters to read.
func isBlank(raw json.RawMessage) bool {
	return raw[0] == '"' && strings.TrimSpace(textOf(raw)) == ""
}

// textOf returns the text that a JSON string stands for.
func textOf(raw json.RawMessage) string {
	var text string
	_ = json.Unmarshal(raw, &text) // raw is a valid JSON string
	return text
}

func compact(raw json.RawMessage) []byte {
	return bytes.Join(bytes.Fields(raw), nil)
}

func asBytes(items []json.RawMessage) [][]byte {
	all := make([][]byte, len(items))
	for i, item := range items {
		all[i] = item
	}
	return all
}

// Readable is like MustMarshal, for JSON that a model reads, that stands for its answer, or that is kept: it
// leaves <, > and & as they are, which would take six characters each.
func Readable(v any) json.RawMessage {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n"))
}

// MustMarshal is the JSON of a value of ours, which is JSON by construction. It panics if it is not.
func MustMarshal(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}
