package call

import (
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"
)

// testSchema has every form that the schemas of our tools have.
const testSchema = `{"type": "object", "properties": {
	"model": {"type": "string"},
	"raw": {"type": "boolean"},
	"dimensions": {"type": "integer"},
	"timeout_seconds": {"type": "number"},
	"images": {"type": "array", "items": {"type": "string"}},
	"messages": {"type": "array", "items": {"type": "object"}},
	"input": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
	"format": {"anyOf": [{"type": "string"}, {"type": "object"}]},
	"keep_alive": {"anyOf": [{"type": "string"}, {"type": "number"}]},
	"think": {"anyOf": [{"type": "boolean"}, {"type": "string"}]},
	"options": {"type": "object", "properties": {
		"temperature": {"type": "number"}, "seed": {"type": "integer"}, "stop": {"type": "array", "items": {"type": "string"}}}}}}`

var testFiles = map[string]string{
	"prompt.txt": "Why?\n", "a.png": "\x89PNG", "b.png": "B", "texts.json": `["x", "y"]`, "empty": "",
}

// readTest reads arguments with the schema and the files above, and "typed\n" on stdin.
func readTest(t testing.TB, object string, pairs ...string) (map[string]any, error) {
	t.Helper()
	s := new(schema)
	if err := json.Unmarshal([]byte(testSchema), s); err != nil {
		t.Fatal(err)
	}
	from := sources{
		file: func(name string) ([]byte, error) {
			text, ok := testFiles[name]
			if !ok {
				return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
			}
			return []byte(text), nil
		},
		stdin: func() ([]byte, error) { return []byte("typed\n"), nil },
	}
	return from.arguments(s, pairs, object)
}

func TestValuesAreReadByTheTypeThatTheToolDeclares(t *testing.T) {
	for _, c := range []struct {
		pairs  string // separated by " & "
		object string
		want   string // as JSON
	}{
		{pairs: "model=llama3.2", want: `{"model":"llama3.2"}`},
		{pairs: "model=42", want: `{"model":"42"}`},
		{pairs: `model="x"`, want: `{"model":"\"x\""}`},
		{pairs: "model=", want: `{"model":""}`},
		{pairs: "model=a=b", want: `{"model":"a=b"}`},
		{pairs: "raw=true", want: `{"raw":true}`},
		{pairs: "dimensions=9007199254740993", want: `{"dimensions":9007199254740993}`},
		{pairs: "timeout_seconds=0.5", want: `{"timeout_seconds":0.5}`},
		{pairs: "keep_alive=5m", want: `{"keep_alive":"5m"}`},
		{pairs: "keep_alive=-1", want: `{"keep_alive":-1}`},
		{pairs: "think=true", want: `{"think":true}`},
		{pairs: "think=low", want: `{"think":"low"}`},
		{pairs: "format=json", want: `{"format":"json"}`},
		{pairs: `format={"type": "object"}`, want: `{"format":{"type":"object"}}`},
		{pairs: "format=7", want: `{"format":"7"}`},
		{pairs: "input=hello", want: `{"input":"hello"}`},
		{pairs: `input=["a", "b"]`, want: `{"input":["a","b"]}`},
		{pairs: "input=[1] a footnote", want: `{"input":"[1] a footnote"}`},
		{pairs: "input=a & input=b & input=c", want: `{"input":["a","b","c"]}`},
		{pairs: `input=a & input=["b", "c"]`, want: `{"input":["a","b","c"]}`},
		{pairs: `messages={"role": "user"}`, want: `{"messages":[{"role":"user"}]}`},
		{pairs: `messages=[{"role": "user"}] & messages={"role": "tool"}`, want: `{"messages":[{"role":"user"},{"role":"tool"}]}`},

		{pairs: "options.temperature=0 & options.seed=7", want: `{"options":{"seed":7,"temperature":0}}`},
		{pairs: `options={"seed": 7} & options.temperature=1e-1`, want: `{"options":{"seed":7,"temperature":1e-1}}`},
		{pairs: "options.stop=42 & options.stop=END", want: `{"options":{"stop":["42","END"]}}`},
		{pairs: "options.unheard.of=true", want: `{"options":{"unheard":{"of":true}}}`},
		{pairs: `format.type=object & format.maxProperties=2`, want: `{"format":{"maxProperties":2,"type":"object"}}`},
		{pairs: "unknown=word & other=1", want: `{"other":1,"unknown":"word"}`},

		{pairs: "model=@prompt.txt", want: `{"model":"Why?\n"}`},
		{pairs: "model=@@prompt.txt", want: `{"model":"@prompt.txt"}`},
		{pairs: "model=@empty", want: `{"model":""}`},
		{pairs: "model=-", want: `{"model":"typed\n"}`},
		{pairs: "input=@texts.json", want: `{"input":["x","y"]}`},
		{pairs: "images=@a.png & images=@b.png", want: `{"images":["iVBORw==","Qg=="]}`},
		{pairs: "images=iVBORw==", want: `{"images":["iVBORw=="]}`},
		{pairs: "images=-", want: `{"images":["dHlwZWQK"]}`},

		{object: `{"model": "x", "raw": true}`, want: `{"model":"x","raw":true}`},
		{pairs: "model=y", object: `{"model": "x", "raw": true}`, want: `{"model":"y","raw":true}`},
		{
			pairs: "options.seed=1", object: `{"options": {"seed": 2, "temperature": 0.50}}`,
			want: `{"options":{"seed":1,"temperature":0.50}}`,
		},
		{pairs: "input=a", object: `{"input": ["b"]}`, want: `{"input":"a"}`},
		{want: `{}`},

		// The server says what is wrong with these, or takes them all the same.
		{pairs: "options=json", want: `{"options":"json"}`},
		{pairs: "raw=yes", want: `{"raw":"yes"}`},
		{pairs: "dimensions=many", want: `{"dimensions":"many"}`},
		{pairs: "timeout_seconds=", want: `{"timeout_seconds":""}`},
		{pairs: "raw=[1]", want: `{"raw":[1]}`},
		{pairs: "messages=hi", want: `{"messages":"hi"}`},
	} {
		var pairs []string
		if c.pairs != "" {
			pairs = strings.Split(c.pairs, " & ")
		}
		got, err := readTest(t, c.object, pairs...)
		if err != nil {
			t.Errorf("%s over %s: %v", c.pairs, c.object, err)
			continue
		}
		if raw, err := json.Marshal(got); err != nil || string(raw) != c.want {
			t.Errorf("%s over %s: got %s (%v), want %s", c.pairs, c.object, raw, err, c.want)
		}
	}
}

func TestArgumentsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, c := range []struct{ pairs, object, want string }{
		{pairs: "model", want: `argument "model" is not of the form key=value`},
		{pairs: "=x", want: `argument "=x" is not of the form key=value`},
		{pairs: `options={"seed"`, want: `argument "options": "{\"seed\"" is not of type object: unexpected end of JSON input`},
		{pairs: `messages=[{]`, want: `argument "messages": "[{]" is not of type array: invalid character ']' looking for beginning of object key string`},
		{pairs: "model=a & model=b", want: `argument "model": given twice`},
		{pairs: "model=a & model.name=b", want: `argument "model.name": "model" has another value already`},
		{pairs: "model=@nowhere", want: `argument "model": open nowhere: file does not exist`},
		{pairs: "model=@a.png", want: `argument "model": neither text nor JSON, as its bytes are not UTF-8`},
		{pairs: "model=\xff", want: `argument "model": neither text nor JSON, as its bytes are not UTF-8`},
		{pairs: "model=- & images=-", want: `argument "images": standard input can be read only once`},
		{object: "[1]", want: `arguments in JSON: "[1]" is not of type object`},
		{object: "{} {}", want: `arguments in JSON: "{} {}" is not of type object: invalid character '{' after top-level value`},
	} {
		var pairs []string
		if c.pairs != "" {
			pairs = strings.Split(c.pairs, " & ")
		}
		got, err := readTest(t, c.object, pairs...)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s over %s: got %v, %v; want %s", c.pairs, c.object, got, err, c.want)
		}
	}
}

func FuzzArguments(f *testing.F) {
	f.Add("model=@@x", "options.temperature=0", `{"raw": true}`)
	f.Add("images=@a.png", "images=-", "")
	f.Add("input=a", `input=["b"]`, `{"options": {"seed": 1e400}}`)
	f.Add("a.b..c=", "a.b=1", `{"a": null}`)
	f.Fuzz(func(t *testing.T, first, second, object string) {
		args, err := readTest(t, object, first, second)
		if err != nil {
			if strings.Contains(err.Error(), "\n") && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("more than one line: %q", err)
			}
			return
		}
		if _, err := json.Marshal(args); err != nil {
			t.Fatalf("cannot be sent: %v", err)
		}
		if model, ok := strings.CutPrefix(first, "model="); ok && model != "-" && !strings.HasPrefix(model, "@") {
			if args["model"] != model || !utf8.ValidString(model) {
				t.Errorf("the model %q became %q", model, args["model"])
			}
		}
	})
}
