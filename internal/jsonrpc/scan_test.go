package jsonrpc_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"ollama-mcp/internal/jsonrpc"
)

func TestStringEndsAtTheFirstQuoteThatIsNotEscaped(t *testing.T) {
	for text, want := range map[string]string{
		`"",1`:        `""`,
		`"a b","c"`:   `"a b"`,
		`"\"",1`:      `"\""`,
		`"a\\",1`:     `"a\\"`,
		`"a\\\"b",1`:  `"a\\\"b"`,
		`"never ends`: `"never ends`,
		`"nor\"`:      `"nor\"`,
		`"`:           `"`,
	} {
		const before = `{"n":`
		if got := jsonrpc.StringEnd([]byte(before+text), len(before)); (before + text)[len(before):got] != want {
			t.Errorf("%s ends at %d, want it to be %s", text, got, want)
		}
	}
}

func TestEmptyArraysBecomeEmptyObjects(t *testing.T) {
	for text, want := range map[string]struct{ all, whole string }{
		`[]`:                           {`{}`, `{}`},
		"[ \n]":                        {"{ \n}", "{ \n}"},
		`{"a":[],"b":{"c":[ ]}}`:       {`{"a":{},"b":{"c":{ }}}`, `{"a":[],"b":{"c":[ ]}}`},
		`{"a":"[]","b":"\"[]","[]":1}`: {`{"a":"[]","b":"\"[]","[]":1}`, `{"a":"[]","b":"\"[]","[]":1}`},
		`[[]]`:                         {`[{}]`, `[[]]`},
		`[1]`:                          {`[1]`, `[1]`},
		`[`:                            {`[`, `[`},
		``:                             {``, ``},
	} {
		all, whole := []byte(text), []byte(text)
		jsonrpc.EmptyObjects(all)
		jsonrpc.EmptyObject(whole)
		if string(all) != want.all || string(whole) != want.whole {
			t.Errorf("%s: got %s and %s, want %s and %s", text, all, whole, want.all, want.whole)
		}
	}
}

// FuzzEmptyObjects compares what becomes of JSON with what becomes of its values.
func FuzzEmptyObjects(f *testing.F) {
	f.Add([]byte(`{"a":[],"b":[[ ],"[]"],"c":"\\"}`))
	f.Add([]byte(`"[]"`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var value, got any
		if json.Unmarshal(text, &value) != nil {
			jsonrpc.EmptyObjects(text) // must not panic
			return
		}
		has := jsonrpc.HasEmptyArray(text)
		jsonrpc.EmptyObjects(text)
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		want := withObjects(value)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %s, want %v", text, want)
		}
		if !has && !reflect.DeepEqual(value, want) {
			t.Errorf("%s has an empty array, which was not found", text)
		}
	})
}

func withObjects(value any) any {
	switch v := value.(type) {
	case []any:
		if len(v) == 0 {
			return map[string]any{}
		}
		list := make([]any, len(v))
		for i := range v {
			list[i] = withObjects(v[i])
		}
		return list
	case map[string]any:
		object := make(map[string]any, len(v))
		for name := range v {
			object[name] = withObjects(v[name])
		}
		return object
	}
	return value
}
