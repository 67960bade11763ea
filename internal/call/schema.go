package call

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"
)

// schema is the part of a JSON schema that decides how a text is read. Its methods accept a
// nil schema, about which nothing is known.
type schema struct {
	Type       string             `json:"type"`
	AnyOf      []*schema          `json:"anyOf"`
	Items      *schema            `json:"items"`
	Properties map[string]*schema `json:"properties"`

	// These are for help alone.
	Description string   `json:"description"`
	Required    []string `json:"required"`
	Enum        words    `json:"enum"`
}

// words are the texts of a list, which may hold other values too.
type words []string

func (w *words) UnmarshalJSON(raw []byte) error {
	var all []any
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	for _, one := range all {
		*w = append(*w, fmt.Sprint(one))
	}
	return nil
}

// schemaOf returns the schema of a tool's arguments.
func schemaOf(tool *mcp.Tool) (*schema, error) {
	raw, err := json.Marshal(tool.InputSchema)
	if err != nil {
		return nil, err
	}
	s := new(schema)
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("the schema of %s cannot be read: %w", tool.Name, err)
	}
	return s, nil
}

func (s *schema) property(name string) *schema {
	if s == nil {
		return nil
	}
	return s.Properties[name]
}

// types returns the allowed types of a value; none if nothing is known.
func (s *schema) types() (types []string) {
	if s == nil {
		return nil
	}
	if s.Type != "" {
		types = append(types, s.Type)
	}
	for _, choice := range s.AnyOf {
		types = append(types, choice.types()...)
	}
	return types
}

// read returns the value that a text stands for: JSON if it has an allowed type other than
// string, else the text itself, or a list with it, if that is allowed. What is of no allowed
// type is returned as it is, since a server takes more than it lists, such as format=json, and
// says best what it does not take. Broken JSON is an error.
func (s *schema) read(text string) (any, error) {
	value, err := parse(text)
	switch t := typeOf(value); {
	case err == nil && t != "string" && s.allows(t):
		return value, nil
	case s.allows("string"):
		return text, nil
	case err != nil && (strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")):
		return nil, isNot(text, err, s.types()...)
	case s.Type == "array" && s.Items.allows("string"):
		return []any{text}, nil
	case s.Type == "array" && err == nil && s.Items.allows(t):
		return []any{value}, nil
	case err == nil:
		return value, nil
	}
	return text, nil
}

// allows reports whether values of a type are allowed; all are where nothing is known.
func (s *schema) allows(t string) bool {
	types := s.types()
	return len(types) == 0 || slices.Contains(types, t) || t == "number" && slices.Contains(types, "integer")
}

// parse reads JSON. It keeps numbers as they are written.
func parse(text string) (value any, err error) {
	if err := json.Unmarshal([]byte(text), new(json.RawMessage)); err != nil {
		return nil, err // a decoder would not see what follows the value
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	err = d.Decode(&value)
	return value, err
}

// typeOf returns the name that JSON Schema has for the type of a value.
func typeOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case json.Number:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

// isNot returns the error for a text that has none of the types. syntax is the error of
// reading it as JSON, which is of interest if JSON was intended.
func isNot(text string, syntax error, types ...string) error {
	err := fmt.Errorf("%.40q is not of type %s", text, strings.Join(types, " or "))
	if syntax != nil && (strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")) {
		return fmt.Errorf("%w: %w", err, syntax)
	}
	return err
}
