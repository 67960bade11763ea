package cache

import (
	"bytes"
	"encoding/json"
	"io"
	"math/big"
	"reflect"
	"regexp"
	"testing"
)

// FuzzCanonical holds that the canonical form loses nothing, is its own canonical
// form, and does not depend on white space.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{
		`{"a": [1, 2.50, -0, 1e-7, 12345678901234567890], "b": {"c": "\u00e9\/\n<"}}`,
		`"\ud800"`, `"\\"`, `[]`, `true`, `1E400`, `-0.000`, `" "`, `"\\u003c\/"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, embedded []byte) {
		raw, err := json.Marshal(json.RawMessage(embedded))
		if err != nil {
			if _, err := KeyOf(Scope{}, json.RawMessage(embedded)); err == nil {
				t.Fatal("a key for what is no JSON")
			}
			return
		}
		got := appendCanonical(nil, raw)
		if again := appendCanonical(nil, got); !bytes.Equal(again, got) {
			t.Fatalf("%s becomes %s and then %s", raw, got, again)
		}
		if a, b := tokens(t, raw), tokens(t, got); !hugePower.Match(raw) && !reflect.DeepEqual(a, b) {
			t.Fatalf("%s becomes %s, which is something else", raw, got)
		}
		var spaced bytes.Buffer
		if err := json.Indent(&spaced, embedded, " ", "\t"); err != nil {
			t.Fatal(err)
		}
		raw, err = json.Marshal(json.RawMessage(spaced.Bytes()))
		if err != nil || !bytes.Equal(appendCanonical(nil, raw), got) {
			t.Fatalf("%s has another canonical form with white space: %s", embedded, raw)
		}
	})
}

// tokens reads JSON, with numbers by their value.
func tokens(t *testing.T, raw []byte) (all []any) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if n, ok := token.(json.Number); ok && !hugePower.Match(raw) {
			r, _ := new(big.Rat).SetString(n.String())
			token = r.String()
		}
		all = append(all, token)
	}
}

// hugePower finds numbers that are too large to be worked out.
var hugePower = regexp.MustCompile(`[eE][+-]?0*[1-9][0-9]{3}`)
