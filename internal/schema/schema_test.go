package schema

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	validate "github.com/santhosh-tekuri/jsonschema/v6"
)

// These are arguments with a property of each kind.
type (
	arguments struct {
		Model    name    `json:"model"`
		Prompt   string  `json:"prompt"`
		System   string  `json:"system,omitempty"`
		Color    color   `json:"color,omitempty"`
		Code     code    `json:"code,omitempty"`
		Count    int     `json:"count,omitempty"`
		Ratio    ratio   `json:"ratio,omitempty"`
		Parts    []part  `json:"parts,omitempty"`
		Nullable *string `json:"nullable,omitempty"`
		Either   either  `json:"either,omitempty"`

		Labels map[string]string `json:"labels,omitempty"`
	}
	part struct {
		Text string `json:"text"`
	}
	name   string
	color  string
	code   string
	ratio  float64
	either any
)

var overrides = Overrides{
	reflect.TypeFor[name]():   {Type: "string", MinLength: new(1)},
	reflect.TypeFor[color]():  {Type: "string", Enum: []any{"red", "green"}},
	reflect.TypeFor[code]():   {Type: "string", MinLength: new(2)},
	reflect.TypeFor[ratio]():  {Type: "number", ExclusiveMinimum: new(0.0), Maximum: new(1.0)},
	reflect.TypeFor[either](): {AnyOf: []*Document{{Type: "string"}, {Type: "array", Items: &Document{Type: "string"}, MinItems: new(1)}}},
}

func forArguments(t *testing.T) *Schema {
	t.Helper()
	s, err := For(reflect.TypeFor[arguments](), overrides)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPlainArgumentsAreAcceptedByTheFullCheckToo(t *testing.T) {
	s := forArguments(t)
	full, err := s.compile()
	if err != nil {
		t.Fatal(err)
	}
	required := map[string]any{"model": "text", "prompt": "text"}
	plain := 0
	for _, base := range []map[string]any{{}, required} {
		for _, name := range append([]string{"unknown"}, s.doc.PropertyOrder...) {
			for _, value := range []any{"", "x", "text", 1.0, true, nil, []any{"text"}, map[string]any{}} {
				arguments := map[string]any{}
				for name, text := range base {
					arguments[name] = text
				}
				arguments[name] = value
				if !s.isPlain(arguments) {
					continue
				}
				plain++
				if err := full.Validate(arguments); err != nil {
					t.Errorf("%v are plain, and the full check says %v", arguments, err)
				}
			}
		}
	}
	if plain == 0 {
		t.Error("no arguments are plain")
	}
}

func TestPlainTextIsNotCheckedInFull(t *testing.T) {
	s := forArguments(t)
	s.compile = func() (*validate.Schema, error) { return nil, errors.New("compiled") }
	if err := s.Check(map[string]any{"model": "tiny", "prompt": "hi", "system": "be brief"}); err != nil {
		t.Errorf("plain text: %v", err)
	}
	if err := s.Check(map[string]any{"model": "tiny", "prompt": "hi", "color": "red"}); err == nil {
		t.Error("a choice is not checked")
	}
}

func TestRefusedArgumentIsNamedAndWhatItShouldBe(t *testing.T) {
	s := forArguments(t)
	for given, want := range map[string]struct{ argument, message string }{
		`{"model":"m","prompt":"p"}`:                      {},
		`{"prompt":"p"}`:                                  {"model", `argument "model" is missing`},
		`{"model":"","prompt":"p"}`:                       {"model", `argument "model" must not be empty`},
		`{"model":7,"prompt":"p"}`:                        {"model", `argument "model" must be a text`},
		`{"model":"m","promt":"p"}`:                       {"promt", `unknown argument "promt"; did you mean "prompt"?`},
		`{"model":"m","prompt":"p","xyzzy":1}`:            {"xyzzy", `unknown argument "xyzzy"; known are model, prompt,`},
		`{"model":"m","prompt":"p","color":"blue"}`:       {"color", `argument "color" must be "red" or "green"`},
		`{"model":"m","prompt":"p","ratio":0}`:            {"ratio", `argument "ratio" must be more than 0`},
		`{"model":"m","prompt":"p","ratio":2}`:            {"ratio", `argument "ratio" must be at most 1`},
		`{"model":"m","prompt":"p","nullable":null}`:      {"nullable", `argument "nullable" is null; leave it out instead`},
		`{"model":"m","prompt":"p","either":7}`:           {"either", `argument "either" must be a text or a list`},
		`{"model":"m","prompt":"p","labels":{"a":7}}`:     {"labels.a", `argument "labels.a" must be of another type`},
		`{"model":"m","prompt":"p","parts":[{"text":7}]}`: {"parts[0].text", `argument "parts[0].text" must be a text`},
		`{"model":"m","prompt":"p","parts":[{"txt":7}]}`:  {"parts[0].txt", `unknown argument "parts[0].txt"; did you mean "text"?`},
	} {
		var arguments map[string]any
		if err := json.Unmarshal([]byte(given), &arguments); err != nil {
			t.Fatal(err)
		}
		err := s.Check(arguments)
		refused, _ := errors.AsType[*ArgumentsError](err)
		switch {
		case want.argument == "" && err != nil:
			t.Errorf("%s: got %v, want it accepted", given, err)
		case want.argument != "" && (refused == nil || len(refused.Faults) != 1 || refused.Faults[0].Argument != want.argument || !strings.HasPrefix(refused.Error(), want.message)):
			t.Errorf("%s: got %v, want %+v", given, err, want)
		}
	}
}

func TestDocumentNamesNoNull(t *testing.T) {
	raw, err := json.Marshal(forArguments(t).Document())
	if err != nil || strings.Contains(string(raw), "null\"") || !strings.Contains(string(raw), `"nullable":{"type":"string"}`) {
		t.Errorf("got %s, error %v", raw, err)
	}
}

func TestClientsAreShownTheMainPoints(t *testing.T) {
	type options struct {
		Temperature float64 `json:"temperature,omitempty"`
	}
	type item struct {
		Text   string `json:"text" jsonschema:"what is said"`
		Hidden string `json:"hidden"`
	}
	type in struct {
		Model   name    `json:"model" jsonschema:"a model"`
		Color   color   `json:"color,omitempty" jsonschema:"one of them"`
		Either  either  `json:"either,omitempty" jsonschema:"a text or texts"`
		Items   []item  `json:"items,omitempty" jsonschema:"many"`
		Options options `json:"options,omitzero" jsonschema:"such as temperature"`
		Rare    int     `json:"rare,omitempty"`
		Plain   int     `json:"plain"`
	}
	s, err := For(reflect.TypeFor[in](), overrides)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(s.Brief())
	const want = `{"type":"object","properties":{"model":{"type":"string","description":"a model"},` +
		`"color":{"type":"string","description":"one of them","enum":["red","green"]},` +
		`"either":{"type":"array","items":{"type":"string"},"description":"a text or texts"},` +
		`"items":{"type":"array","items":{"type":"object","properties":{"text":{"type":"string","description":"what is said"}},"required":["text"]},"description":"many"},` +
		`"options":{"type":"object","description":"such as temperature"}},"required":["model"]}`
	if err != nil || string(raw) != want {
		t.Errorf("got  %s, error %v\nwant %s", raw, err, want)
	}
	raw, err = json.Marshal(BriefOutput(s.Document()))
	if wanted := `{"type":"object","properties":{"model":{"type":"string","description":"a model"}}}`; err != nil || string(raw) != wanted {
		t.Errorf("of a result got %s, error %v", raw, err)
	}
}
