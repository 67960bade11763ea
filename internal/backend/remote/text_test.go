package remote

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestCharactersStayWholeHoweverTheyAreCut cuts a text anywhere between its bytes, or between
// the two surrogates of a character, writes the parts as JSON, and joins what is read of them.
func TestCharactersStayWholeHoweverTheyAreCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.SampledFrom([]rune("aé你😀𝒳\n\"\\�"))).Draw(t, "text")
		var parts []string
		escaped := rapid.Bool().Draw(t, "escaped")
		if escaped {
			var part strings.Builder
			for _, unit := range utf16.Encode([]rune(text)) {
				fmt.Fprintf(&part, `\u%04x`, unit)
				if rapid.Bool().Draw(t, "cut") {
					parts = append(parts, part.String())
					part.Reset()
				}
			}
			parts = append(parts, part.String())
		} else {
			plain := strings.NewReplacer("\n", " ", "\"", "'", "\\", "/").Replace(text)
			text = plain
			for len(plain) > 0 {
				n := rapid.IntRange(1, len(plain)).Draw(t, "length")
				parts, plain = append(parts, plain[:n]), plain[n:]
			}
		}
		a := Assemble(nil)
		for _, part := range parts {
			var piece Text
			if err := json.Unmarshal([]byte(`"`+part+`"`), &piece); err != nil {
				t.Fatal(err)
			}
			if err := a.Add(piece, ""); err != nil {
				t.Fatal(err)
			}
			if so := a.text.String(); !utf8.ValidString(so) || !strings.HasPrefix(text, so) {
				t.Fatalf("after %q: %q, of %q", part, so, text)
			}
		}
		if got := a.Result(true); got.Text != text {
			t.Fatalf("got %q of %q, want %q", got.Text, parts, text)
		}
	})
}

// FuzzText holds our reading of texts in JSON against encoding/json, which differs only where
// there are halves of characters.
func FuzzText(f *testing.F) {
	for _, text := range []string{`""`, `null`, `"a\n\"\\\/\b\f\r\té😀"`, `"\u00e9\ud83d\ude00"`, `"\ud83d"`, `"\ud83dA"`, `"\ud83d\u0041"`, `"\ude00\ud83d"`, `"\x"`, `"\u00g0"`, `7`, "\"\xff\"", "\"\xf0\x9f\"", `"\`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var got Text
		var want string
		err, wantErr := json.Unmarshal([]byte(raw), &got), json.Unmarshal([]byte(raw), &want)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("error %v, encoding/json: %v", err, wantErr)
		}
		valid := Valid(string(got))
		if !utf8.ValidString(valid) {
			t.Fatalf("%q is no UTF-8", valid)
		}
		if err == nil && valid != want && strings.Count(valid, "�") >= strings.Count(want, "�") {
			t.Fatalf("got %q, encoding/json: %q", valid, want)
		}
	})
}

func TestMembersOfAnotherFormAreLeftOutAndTheOthersKept(t *testing.T) {
	type model struct {
		Name  string
		Size  int
		Tags  []string
		Inner struct{ A int }
	}
	for raw, want := range map[string]string{
		`{"name":"m","size":7,"tags":["a"],"inner":{"A":1}}`: "{m 7 [a] {1}}",
		`{"name":7,"size":7.0,"tags":["a"],"inner":{"A":1}}`: "{ 7 [a] {1}}",
		`{"name":"m","size":"7","tags":"a","inner":[]}`:      "{m 7 [] {0}}",
		`{"name":"m","size":"seven","tags":null}`:            "{m 0 [] {0}}",
		`{"name":{},"size":-7.5}`:                            "{ 0 [] {0}}",
	} {
		var got Lenient[model]
		if err := json.Unmarshal([]byte(raw), &got); err != nil || fmt.Sprint(got.Value) != want {
			t.Errorf("%s: got %v, %v, want %s", raw, got.Value, err, want)
		}
	}
	var got Lenient[model]
	if err := json.Unmarshal([]byte(`[7]`), &got); err == nil {
		t.Error("a list is no object")
	}
}
