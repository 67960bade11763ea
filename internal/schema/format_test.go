package schema

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestFormatMustBeASchemaThatNeedsNoOtherDocument(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]string{
		`{"type":"objekt"}`:               `is not a valid JSON schema`,
		`{"properties":[]}`:               `is not a valid JSON schema`,
		`{"$ref":"file:///etc/passwd"}`:   `and only references within the schema are followed`,
		`{"$ref":"http://127.0.0.1/x"}`:   `and only references within the schema are followed`,
		`{"type":"object","pattern":")"}`: `is not a valid JSON schema`,
	} {
		if _, err := CompileFormat(json.RawMessage(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", raw, err, want)
		} else if strings.Contains(err.Error(), here) || len(err.Error()) > 300 {
			t.Errorf("%s: says more than it should: %v", raw, err)
		}
	}
	nested := func(depth int) json.RawMessage {
		return json.RawMessage(strings.Repeat(`{"items":`, depth) + "{}" + strings.Repeat("}", depth))
	}
	if _, err := CompileFormat(nested(maxNesting - 1)); err != nil {
		t.Errorf("as deep as may be: %v", err)
	}
	if _, err := CompileFormat(nested(maxNesting)); err == nil {
		t.Error("a schema so deep that it would crash Ollama is taken")
	}
}

func TestReferencesWithinAFormatAreFollowed(t *testing.T) {
	for _, tc := range []struct{ schema, fits, misfits string }{
		{`{"$defs":{"A":{"type":"string"}},"type":"object","properties":{"a":{"$ref":"#/$defs/A"}}}`, `{"a":"x"}`, `{"a":7}`},
		{`{"definitions":{"A":{"type":"string"}},"type":"object","properties":{"a":{"$ref":"#/definitions/A"}}}`, `{"a":"x"}`, `{"a":7}`},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"A":{"type":"object"}},"$ref":"#/definitions/A"}`, `{}`, `7`},
		{`{"$defs":{"N":{"type":"object","properties":{"next":{"$ref":"#/$defs/N"}}}},"$ref":"#/$defs/N"}`, `{"next":{"next":{}}}`, `{"next":{"next":7}}`},
		{`{"$defs":{"N":{"anyOf":[{"type":"string"},{"type":"array","items":{"$ref":"#/$defs/N"}}]}},"$ref":"#/$defs/N"}`, `[["x"],"y"]`, `[[7]]`},
		{`{"type":"object","properties":{"next":{"$ref":"#"}}}`, `{"next":{}}`, `{"next":7}`},
		{`{"$defs":{"A":{"$anchor":"a","type":"object"}},"$ref":"#a"}`, `{}`, `7`},
	} {
		f, err := CompileFormat(json.RawMessage(tc.schema))
		if err != nil {
			t.Errorf("%s: %v", tc.schema, err)
			continue
		}
		if err := check(f, tc.fits); err != nil {
			t.Errorf("%s refuses %s: %v", tc.schema, tc.fits, err)
		}
		if err := check(f, tc.misfits); err == nil {
			t.Errorf("%s takes %s", tc.schema, tc.misfits)
		}
	}
}

func TestReferenceOfAFormatThatLeadsNowhereIsNamed(t *testing.T) {
	const nothingElse = "to itself and to nothing else"
	for raw, want := range map[string]string{
		`{"$ref":"#/nope"}`:     `it refers to "#/nope", which is not in it`,
		`{"$ref":"#nope"}`:      `it refers to "#nope", which is not in it`,
		`{"$ref":"other.json"}`: `it refers to "other.json", and only references within the schema`,
		`{"$ref":"#"}`:          `"#" ` + nothingElse,
		`{"properties":{"a":{"anyOf":[{"type":"string"},{"$ref":"#/properties/a"}]}}}`:               `"#/properties/a" ` + nothingElse,
		`{"$defs":{"A":{"$ref":"#/$defs/B"},"B":{"$ref":"#/$defs/A"}},"items":{"$ref":"#/$defs/A"}}`: nothingElse,
	} {
		_, err := CompileFormat(json.RawMessage(raw))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "schema:/") {
			t.Errorf("%s: got %v, want %s", raw, err, want)
		}
	}
}

func TestFormatThatRepeatsMoreThanOllamaCanIsRefused(t *testing.T) {
	for raw, want := range map[string]string{
		`{"type":"string","maxLength":2000}`:                                                "",
		`{"type":"array","maxItems":2000,"items":{"type":"string","minLength":2000}}`:       "",
		`{"type":"string","maxLength":2001}`:                                                `a maxLength of 2001 at "#"`,
		`{"type":"object","properties":{"a":{"type":"string","minLength":3000}}}`:           `a minLength of 3000 at "#/properties/a"`,
		`{"type":"array","items":{"type":"array","minItems":5000}}`:                         `a minItems of 5000 at "#/items"`,
		`{"prefixItems":[{"type":"array","maxItems":5000}]}`:                                `a maxItems of 5000 at "#/prefixItems/0"`,
		`{"$defs":{"A":{"type":"string","maxLength":9999}},"oneOf":[{"$ref":"#/$defs/A"}]}`: `a maxLength of 9999 at "#/$defs/A"`,
		`{"type":"object","additionalProperties":{"type":"string","maxLength":9999}}`:       `a maxLength of 9999 at "#/additionalProperties"`,
		`{"$defs":{"A":{"type":"string","maxLength":9999}},"type":"object"}`:                "", // is not used
		`{"type":"object","properties":{"maxLength":{"const":9999}}}`:                       "",
		`{"type":"object","default":{"maxLength":9999},"maxProperties":9999}`:               "",
	} {
		_, err := CompileFormat(json.RawMessage(raw))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", raw, err, want)
		}
	}
}

func TestMismatchSaysInOneLineWhatIsWrong(t *testing.T) {
	const object = `{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`
	for _, tc := range []struct{ format, text, want string }{
		{object, `{"n":1}`, ""},
		{object, `{"n":"one"}`, "/n"},
		{object, `{}`, "missing"},
		{object, `{"n":`, "unexpected EOF"},
		{object, `{"n":1} {}`, "invalid character"},
		{object, ``, "EOF"},
		{`"json"`, `{"anything":true}`, ""},
		{`"json"`, `[1]`, "want object"},
	} {
		f, err := CompileFormat(json.RawMessage(tc.format))
		if err != nil {
			t.Fatal(err)
		}
		err = check(f, tc.text)
		if _, ok := errors.AsType[*MismatchError](err); ok != (tc.want != "") {
			t.Errorf("%s for %s: got %#v, want a mismatch: %v", tc.text, tc.format, err, tc.want != "")
		} else if ok && (!strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s for %s: got %q, want %q in one line", tc.text, tc.format, err, tc.want)
		}
	}
}

// check decodes a text and checks it against a format.
func check(f *Format, text string) error {
	value, err := Decode(text)
	if err != nil {
		return err
	}
	return f.Check(value)
}
