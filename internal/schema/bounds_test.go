package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	validate "github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

// levels is a schema of so many definitions, each of which is made of references to the next.
func levels(n int, level string) string {
	var defs []string
	for i := range n {
		next := fmt.Sprintf(`{"$ref":"#/$defs/a%d"}`, i+1)
		defs = append(defs, fmt.Sprintf(`"a%d":%s`, i, strings.ReplaceAll(level, "NEXT", next)))
	}
	return fmt.Sprintf(`{"$defs":{%s,"a%d":{"type":"string"}},"$ref":"#/$defs/a0"}`, strings.Join(defs, ","), n)
}

// list is a JSON list of n items, of which the text is a format with the number of the item.
func list(n int, item string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = strings.ReplaceAll(item, "N", fmt.Sprint(i))
	}
	return "[" + strings.Join(items, ",") + "]"
}

func TestSchemaThatIsExpensiveToCheckIsRefused(t *testing.T) {
	for raw, want := range map[string]string{
		// Each level doubles what is behind it.
		levels(40, `{"allOf":[NEXT,NEXT]}`):                              "in more than 65536 ways",
		levels(40, `{"anyOf":[NEXT,NEXT]}`):                              "in more than 65536 ways",
		levels(40, `{"oneOf":[NEXT,NEXT]}`):                              "in more than 65536 ways",
		levels(30, `{"not":{"allOf":[NEXT,NEXT]}}`):                      "in more than 65536 ways",
		levels(40, `{"if":NEXT,"then":NEXT,"else":NEXT}`):                "in more than 65536 ways",
		levels(60, `{"properties":{"x":NEXT,"y":NEXT}}`):                 "in more than 65536 ways",
		levels(60, `{"patternProperties":{"x":NEXT,"y":NEXT}}`):          "in more than 65536 ways",
		levels(60, `{"items":NEXT,"contains":NEXT}`):                     "in more than 65536 ways",
		levels(60, `{"prefixItems":[NEXT,NEXT]}`):                        "in more than 65536 ways",
		levels(40, `{"dependentSchemas":{"x":NEXT,"y":NEXT}}`):           "in more than 65536 ways",
		levels(60, `{"additionalProperties":NEXT,"propertyNames":NEXT}`): "in more than 65536 ways",
		levels(60, `{"allOf":[NEXT,NEXT]}`):                              "a chain of more than 100 schemas",
		levels(200, `NEXT`):                                              "a chain of more than 100 schemas",
		strings.Replace(levels(40, `{"dependencies":{"x":NEXT,"y":NEXT}}`), `{`, `{"$schema":"http://json-schema.org/draft-07/schema#",`, 1):    "in more than 65536 ways",
		strings.Replace(levels(60, `{"items":[NEXT],"additionalItems":NEXT}`), `{`, `{"$schema":"http://json-schema.org/draft-07/schema#",`, 1): "in more than 65536 ways",
		`{"not":{"$ref":"#"}}`:                      `refers at "#" to itself and to nothing else`,
		`{"if":{"$ref":"#"}}`:                       `refers at "#" to itself and to nothing else`,
		`{"dependentSchemas":{"x":{"$ref":"#"}}}`:   `refers at "#" to itself and to nothing else`,
		`{"$dynamicRef":"#x","$dynamicAnchor":"x"}`: "use $ref",

		`{"minimum":1e999}`:                                    "the number 1e999, which is beyond",
		`{"minimum":1e999999999}`:                              "the number 1e999999999, which is beyond",
		`{"multipleOf":1e-999999}`:                             "the number 1e-999999, which is beyond",
		`{"const":` + strings.Repeat("9", 2000) + `}`:          "which is beyond the range",
		`{"minLength":1e99999999}`:                             "which is beyond the range",
		`{"default":{"deep":[-1e400]}}`:                        "the number -1e400, which is beyond",
		`{"pattern":"` + strings.Repeat("a", 2000) + `"}`:      "longer than 1024 bytes",
		`{"pattern":"a{900}b{900}c{900}"}`:                     "repeats too much",
		`{"patternProperties":{"a{900}b{900}c{900}":{}}}`:      "repeats too much",
		`{"anyOf":` + list(100, `{"pattern":"a{900}N"}`) + `}`: "too large together",

		`{"allOf":` + list(5000, `{}`) + `}`:                           "more than 4096 parts",
		`{"enum":` + list(10000, `"number N"`) + `}`:                   "larger than 64 KiB",
		strings.Repeat(`{"not":`, 50) + "{}" + strings.Repeat("}", 50): "nested more than 50 deep",
	} {
		_, err := CompileFormat(json.RawMessage(raw))
		if _, ok := errors.AsType[*FormatError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", shorten(raw, 100), err, want)
		} else if len(err.Error()) > 600 {
			t.Errorf("%s: the message has %d bytes", shorten(raw, 100), len(err.Error()))
		}
	}
}

func TestSchemasOfUsualSizeAreTaken(t *testing.T) {
	// Fifty types that all refer to each other: recursive, and not expensive.
	var types []string
	for i := range 50 {
		types = append(types, fmt.Sprintf(`"t%d":{"type":"object","properties":{"next":{"anyOf":%s}}}`, i, list(50, `{"$ref":"#/$defs/tN"}`)))
	}
	for _, raw := range []string{
		`{"$defs":{` + strings.Join(types[:20], ",") + `},"properties":{"a":{"type":"string"}}}`,
		`{"$defs":{` + strings.ReplaceAll(strings.Join(types[:20], ","), `{"anyOf":`+list(50, `{"$ref":"#/$defs/tN"}`)+`}`,
			`{"anyOf":`+list(20, `{"$ref":"#/$defs/tN"}`)+`}`) + `},"$ref":"#/$defs/t0"}`,
		levels(10, `{"properties":{"x":NEXT,"y":NEXT}}`),
		levels(90, `NEXT`),
		`{"enum":` + list(4000, `"number N"`) + `}`,
		`{"type":"object","properties":{` + strings.Trim(strings.ReplaceAll(list(2000, `"propertyN":{"type":"string"}`), `,"`, `,"`), "[]") + `}}`,
		`{"type":"number","minimum":-1.7e308,"maximum":1.7e308,"multipleOf":1e-300,"default":0.0e0}`,
		`{"type":"string","pattern":"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"}`,
	} {
		if _, err := CompileFormat(json.RawMessage(raw)); err != nil {
			t.Errorf("%s: %v", shorten(raw, 200), err)
		}
	}
}

func TestAnswerThatCannotBeCheckedInTimeDoesNotFit(t *testing.T) {
	doubling := `{"allOf":[{"properties":{"x":{"$ref":"#"}}},{"properties":{"x":{"$ref":"#"}}}]}`
	nested := func(n int) string { return strings.Repeat(`{"x":`, n) + "1" + strings.Repeat("}", n) }
	for _, tc := range []struct{ format, text, want string }{
		{doubling, nested(10), ""},
		{doubling, nested(30), "too many steps"},
		{doubling, nested(150), "too many steps"},
		{`{"items":{"not":{"$ref":"#"}},"additionalProperties":{"anyOf":[{"$ref":"#"},{"not":{"$ref":"#"}}]}}`, nested(60), "too many steps"},
		{`{"if":{"properties":{"x":{"$ref":"#"}}},"then":{"properties":{"x":{"$ref":"#"}}}}`, nested(60), "too many steps"},
		{`"json"`, nested(150), ""},
		{`"json"`, nested(5000), "nested too deep"},
		{`"json"`, `{"a":1e99999999}`, "the number 1e99999999, which is beyond"},
		{`{"properties":{"a":{"minimum":0}}}`, `{"a":1e99999999}`, "the number 1e99999999, which is beyond"},
		{`{"properties":{"a":{"minimum":0}}}`, `{"a":1e-99999999}`, "the number 1e-99999999, which is beyond"},
		{`{"items":{"minimum":0}}`, list(400, `1e999999`), "the number 1e999999, which is beyond"},
		{`{"items":{"minimum":0}}`, list(400, `1e30N`), "the number 1e309, which is beyond"},
		{`{"minimum":0}`, strings.Repeat("1", 5000), "beyond the range"},
		{`{"maximum":1e3}`, `1e308`, "want 1,000"},
		{`{"multipleOf":0.1}`, `0.3`, ""},
		{`{"const":12345678901234567890}`, `12345678901234567891`, "must be"},
		{`{"items":{"enum":` + list(5000, `Ne300`) + `}}`, list(5000, `1e300`), "too many steps"},
		{`{"uniqueItems":true}`, list(2000, `"text N"`), ""},
		{`{"uniqueItems":true}`, list(50000, `"text N"`), "too many steps"},
		{`{"pattern":"^(a|b|aa|bb){50}$"}`, `"` + strings.Repeat("a", 200000) + `"`, "too many steps"},
		{`{"enum":` + list(4000, `"number N"`) + `}`, `"other"`, "must be one of"},
		{`{"anyOf":` + list(1000, `{"const":N}`) + `}`, `"other"`, "must be 0"},
		{`{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"}}}}`, list(20000, `{"name":"N"}`), ""},
	} {
		f, err := CompileFormat(json.RawMessage(tc.format))
		if err != nil {
			t.Errorf("%s: %v", shorten(tc.format, 100), err)
			continue
		}
		value, err := f.Decode(tc.text)
		if err == nil {
			err = f.Check(value)
		}
		if _, isMismatch := errors.AsType[*MismatchError](err); isMismatch != (tc.want != "") || isMismatch && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s for %s: got %v, want %q", shorten(tc.text, 40), shorten(tc.format, 100), err, tc.want)
		}
		if err != nil && len(err.Error()) > maxMessage+10 {
			t.Errorf("%s for %s: the message has %d bytes", shorten(tc.text, 40), shorten(tc.format, 100), len(err.Error()))
		}
	}
}

func TestTextThatIsTooLongIsNotDecoded(t *testing.T) {
	f, err := CompileFormat(json.RawMessage(`"json"`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Decode(`{}` + strings.Repeat(" ", maxText)); err == nil {
		t.Error("taken")
	}
}

func TestChecksOfOneFormatAreBoundedTogether(t *testing.T) {
	f, err := CompileFormat(json.RawMessage(`{"items":{"minimum":0}}`))
	if err != nil {
		t.Fatal(err)
	}
	value, err := Decode(list(20000, "1"))
	if err != nil {
		t.Fatal(err)
	}
	each, _ := stepsOf(f.compiled, value, maxSteps)
	f.left.Store(int64(3*each + each/2))
	for range 3 {
		if err := f.Check(value); err != nil {
			t.Fatalf("within the bound: %v", err)
		}
	}
	if err := f.Check(value); err == nil {
		t.Error("the checks go on for ever")
	}
}

// applied has the schemas of a format count how often they are applied to a value that has
// their type. It finds them by their Go types, and so also those that edges forgets.
func applied(f *Format) *int {
	count := new(int)
	seen := make(map[*validate.Schema]bool)
	var visit func(reflect.Value)
	visit = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Interface:
			visit(v.Elem())
		case reflect.Slice:
			for i := range v.Len() {
				visit(v.Index(i))
			}
		case reflect.Map:
			for _, key := range v.MapKeys() {
				visit(v.MapIndex(key))
			}
		case reflect.Pointer:
			s, ok := v.Interface().(*validate.Schema)
			if !ok || s == nil || seen[s] {
				return
			}
			seen[s] = true
			if s.Bool == nil {
				s.Format = &validate.Format{Name: "counted", Validate: func(any) error { *count++; return nil }}
			}
			for i := range v.Elem().NumField() {
				if v.Elem().Type().Field(i).IsExported() {
					visit(v.Elem().Field(i))
				}
			}
		}
	}
	visit(reflect.ValueOf(f.compiled))
	return count
}

// boundHolds checks that a text is checked against a schema in no more steps than were counted
// before, and in none if they are too many.
func boundHolds(t interface{ Fatalf(string, ...any) }, raw, text string) {
	f, err := CompileFormat(json.RawMessage(raw))
	if err != nil {
		if _, ok := errors.AsType[*FormatError](err); !ok {
			t.Fatalf("%s: %v is no FormatError", raw, err)
		}
		return
	}
	value, err := f.Decode(text)
	if err != nil {
		return
	}
	count := applied(f)
	steps, ok := stepsOf(f.compiled, value, maxSteps)
	err = f.Check(value)
	if _, isMismatch := errors.AsType[*MismatchError](err); err != nil && !isMismatch {
		t.Fatalf("%s for %s: %v is no MismatchError", text, raw, err)
	}
	switch {
	case !ok && (err == nil || *count > 0):
		t.Fatalf("%s for %s: too many steps were counted, and it was checked in %d: %v", text, raw, *count, err)
	case *count > steps:
		t.Fatalf("%s for %s: %d schemas were applied, and %d steps counted", text, raw, *count, steps)
	case err != nil && len(err.Error()) > maxMessage+10:
		t.Fatalf("%s for %s: the message has %d bytes", text, raw, len(err.Error()))
	}
}

// randomSchema draws a schema with references to four definitions.
func randomSchema(t *rapid.T, depth int) any {
	if depth == 0 || rapid.IntRange(0, 3).Draw(t, "refers") == 0 {
		return map[string]any{"$ref": rapid.SampledFrom([]string{"#", "#/$defs/a", "#/$defs/b", "#/$defs/c", "#/$defs/d"}).Draw(t, "ref")}
	}
	next := func() any { return randomSchema(t, depth-1) }
	schema := make(map[string]any)
	for range rapid.IntRange(0, 3).Draw(t, "keywords") {
		switch word := rapid.SampledFrom(keywords).Draw(t, "keyword"); word {
		case "allOf", "anyOf", "oneOf", "prefixItems":
			schema[word] = []any{next(), next()}
		case "properties", "dependentSchemas", "patternProperties":
			schema[word] = map[string]any{"x": next(), "y": next()}
		case "type":
			schema[word] = rapid.SampledFrom([]string{"object", "array", "string", "number", "integer", "null"}).Draw(t, "type")
		case "enum":
			schema[word] = []any{"x", 1, nil, []any{1, "x"}}
		case "required":
			schema[word] = []any{"x"}
		case "uniqueItems":
			schema[word] = true
		case "pattern":
			schema[word] = "^x{1,5}$"
		case "minimum", "maxLength", "maxItems":
			schema[word] = rapid.IntRange(0, 3).Draw(t, "number")
		default:
			schema[word] = next()
		}
	}
	return schema
}

var keywords = []string{
	"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "properties", "patternProperties", "additionalProperties",
	"propertyNames", "dependentSchemas", "unevaluatedProperties", "items", "prefixItems", "contains", "unevaluatedItems",
	"type", "enum", "required", "uniqueItems", "pattern", "minimum", "maxLength", "maxItems",
}

func randomValue(t *rapid.T, depth int) any {
	kind := rapid.IntRange(0, 7).Draw(t, "kind")
	if depth == 0 {
		kind %= 4
	}
	switch kind {
	case 0:
		return nil
	case 1:
		return rapid.SampledFrom([]string{"", "x", "xxxxxxxx"}).Draw(t, "text")
	case 2:
		return json.Number(rapid.SampledFrom([]string{"0", "1.0", "-3", "1e308", "1e309", "1e-400", "1e99999999"}).Draw(t, "number"))
	case 3:
		return true
	case 4, 5:
		return []any{randomValue(t, depth-1), randomValue(t, depth-1)}
	}
	object := map[string]any{"x": randomValue(t, depth-1)}
	if rapid.Bool().Draw(t, "y") {
		object["y"] = randomValue(t, depth-1)
	}
	return object
}

func TestCheckTakesNoMoreStepsThanAreCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		schema := map[string]any{"allOf": []any{randomSchema(t, 3)}, "$defs": map[string]any{
			"a": randomSchema(t, 2), "b": randomSchema(t, 2), "c": randomSchema(t, 1), "d": map[string]any{"type": "string"},
		}}
		raw, err := json.Marshal(schema)
		if err != nil {
			t.Fatalf("%v", err)
		}
		text, err := json.Marshal(randomValue(t, rapid.IntRange(0, 7).Draw(t, "depth")))
		if err != nil {
			t.Fatalf("%v", err)
		}
		boundHolds(t, string(raw), string(text))
	})
}

func FuzzFormat(f *testing.F) {
	f.Add(levels(20, `{"not":{"allOf":[NEXT,NEXT]}}`), `"x"`)
	f.Add(levels(9, `{"if":NEXT,"then":NEXT}`), `{"x":[1e308]}`)
	f.Add(`{"allOf":[{"properties":{"x":{"$ref":"#"}}},{"additionalProperties":{"$ref":"#"}}]}`, `{"x":{"x":{"x":1}}}`)
	f.Add(`{"$schema":"http://json-schema.org/draft-07/schema#","items":[{"type":"integer"}],"additionalItems":{"pattern":"a{3}"}}`, `[1e99999999,"aaa"]`)
	f.Add(`{"uniqueItems":true,"items":{"multipleOf":0.1,"enum":[1,2,[1]]}}`, `[1,2,1]`)
	f.Add(`{"unevaluatedProperties":{"const":{"a":1}},"dependentRequired":{"a":["b"]}}`, `{"a":{"a":1}}`)
	f.Fuzz(func(t *testing.T, raw, text string) {
		if json.Valid([]byte(raw)) {
			boundHolds(t, raw, text)
		}
	})
}
