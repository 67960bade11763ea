package jsonrpc_test

import (
	"encoding/json"
	"strings"
	"testing"

	"ollama-mcp/internal/jsonrpc"
)

// picked is what is read of {"a":TEXT,"b":{"c":TEXT}}.
type picked struct{ A, C string }

func pick(text []byte) (p picked, ok bool) {
	s := jsonrpc.NewStrict(text)
	if s == nil {
		return p, false
	}
	read := func(to *string) bool {
		inner, ok := s.Text()
		*to = string(inner)
		return ok
	}
	ok = s.Members([]string{"a", "b"}, func(name int) bool {
		if name == 0 {
			return read(&p.A)
		}
		return s.IsObject() && s.Members([]string{"c"}, func(int) bool { return read(&p.C) })
	})
	return p, ok && s.End()
}

func TestStrictReaderTakesWhatIsUsual(t *testing.T) {
	for text, want := range map[string]bool{
		`{"a":"x","b":{"c":"y"}}`:                         true,
		" {\t\"b\" : {} ,\r\n\"z\":[1,-0.5e+3,{}] } ":     true,
		`{"z":{"a":1,"a":2,"\u0061":"\ud83d\n"},"a":"ä"}`: true,
		`{}`:                true,
		``:                  false,
		`[]`:                false,
		`{"a":1}`:           false,
		`{"a":"\u0078"}`:    false, // which is "x"
		`{"\u0061":"x"}`:    false,
		`{"a":"x","a":"x"}`: false,
		`{"A":"x"}`:         false,
		`{"b":{"C":"x"}}`:   false,
		`{"ä":1}`:           false,
		`{"a":"x"}}`:        false,
		`{"a":"x",}`:        false,
		`{"z":01}`:          false,
		`{"z":1.}`:          false,
		`{"z":-}`:           false,
		`{"z":tru}`:         false,
		`{"z":"\x"}`:        false,
		`{"z":"\u12g4"}`:    false,
		"{\"z\":\"\n\"}":    false,
		"{\"z\":\"\xff\"}":  false,
		"{\"a\":\"x\"}\x00": false,
		`{"z":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`:   true,
		`{"z":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`: false,
	} {
		if p, ok := pick([]byte(text)); ok != want {
			t.Errorf("%q: got %+v, %v", text, p, ok)
		}
	}
}

// FuzzStrict checks that what is read is what encoding/json reads, which takes more.
func FuzzStrict(f *testing.F) {
	for _, text := range []string{
		`{"a":"x","b":{"c":"y"}}`, `{"z":[1,-0.5e+3,{"a":null}],"b":{"c":"y","d":"\ud83d\""}}`, `{"a":"x","A":"y"}`, `{"z":01,"a":"x"}`, "{\"a\":\"x\"}\x00",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, ok := pick(text)
		if !ok {
			return
		}
		var want struct {
			A string
			B struct{ C string }
		}
		if err := json.Unmarshal(text, &want); err != nil || got != (picked{want.A, want.B.C}) {
			t.Errorf("%q: got %+v, want %+v, %v", text, got, want, err)
		}
	})
}
