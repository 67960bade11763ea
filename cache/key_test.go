package cache_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ollama-mcp/cache"
)

var update = flag.Bool("update", false, "rewrite the keys in testdata")

// TestKeysStayWhatTheyAre holds the keys of testdata: when they change, keyForm has to.
func TestKeysStayWhatTheyAre(t *testing.T) {
	const file = "testdata/keys.json"
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var golden []struct {
		Scope   cache.Scope     `json:"scope"`
		Request json.RawMessage `json:"request"`
		Key     string          `json:"key"`
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden) == 0 {
		t.Fatal("no keys in testdata")
	}
	seen := make(map[string]json.RawMessage)
	for i := range golden {
		g := &golden[i]
		got := keyIn(t, g.Scope, g.Request).String()
		if *update {
			g.Key = got
		}
		if got != g.Key {
			t.Errorf("%+v, %s: got key %s, want %s", g.Scope, g.Request, got, g.Key)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s share a key", other, g.Request)
		}
		seen[got] = g.Request
	}
	if *update {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(golden); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestScopesHaveKeysOfTheirOwn(t *testing.T) {
	seen := make(map[cache.Key]cache.Scope)
	for _, s := range []cache.Scope{
		{},
		{Tenant: "a"},
		{Tool: "a"},
		{Model: "a"},
		{Digest: "a"},
		{Tenant: "a", Tool: "b"},
		{Tenant: "ab"},
		{Tenant: "b", Tool: "a"},
		{Tenant: `a","b`},
		{Tenant: "\xff"},
		{Tenant: "\xfe"}, // one text in JSON, and two tenants
	} {
		key := keyIn(t, s, "question")
		if other, ok := seen[key]; ok {
			t.Errorf("%+v and %+v share a key", s, other)
		}
		seen[key] = s
	}
}

func TestOrderMattersInEmbeddedJSONAndNotInMaps(t *testing.T) {
	for range 20 { // maps are walked in another order each time
		a := map[string]any{"temperature": 0, "seed": 1, "stop": []string{"x"}, "top_k": 5}
		b := map[string]any{"top_k": 5, "stop": []string{"x"}, "seed": 1, "temperature": 0}
		if keyOf(t, a) != keyOf(t, b) {
			t.Fatal("two equal maps have two keys")
		}
	}
	thinkFirst := json.RawMessage(`{"properties":{"reason":{},"answer":{}}}`)
	answerFirst := json.RawMessage(`{"properties":{"answer":{},"reason":{}}}`)
	if keyOf(t, thinkFirst) == keyOf(t, answerFirst) {
		t.Error("schemas that a model fills in in another order share a key")
	}
}

func TestWhatCannotBeMarshalledHasNoKey(t *testing.T) {
	for _, request := range []any{func() {}, json.RawMessage(`{`), json.RawMessage(`"\x"`)} {
		if _, err := cache.KeyOf(cache.Scope{}, request); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: got error %v, want one of one line", request, err)
		}
	}
}

// aRequest draws what a request may consist of.
func aRequest() *rapid.Generator[any] {
	leaf := rapid.OneOf(
		rapid.String().AsAny(), rapid.Int64().AsAny(), rapid.Bool().AsAny(),
		rapid.Float64Range(-1e9, 1e9).AsAny(), rapid.Just[any](nil),
	)
	list := rapid.SliceOfN(leaf, 0, 4).AsAny()
	return rapid.MapOfN(rapid.String(), rapid.OneOf(leaf, list, rapid.MapOfN(rapid.String(), leaf, 0, 4).AsAny()), 1, 6).AsAny()
}

func TestKeyDoesNotDependOnWhiteSpaceOfEmbeddedJSON(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		request := aRequest().Draw(r, "request")
		raw, err := json.Marshal(request)
		if err != nil {
			r.Fatal(err)
		}
		var spaced bytes.Buffer
		indent := rapid.StringMatching(`[ \t\r\n]{0,3}`).Draw(r, "indent")
		if err := json.Indent(&spaced, raw, indent, indent+" "); err != nil {
			r.Fatal(err)
		}
		want := keyOf(t, request)
		for _, embedded := range []string{string(raw), spaced.String()} {
			if keyOf(t, json.RawMessage(embedded)) != want {
				r.Fatalf("%s has another key embedded as %q", raw, embedded)
			}
		}
	})
}

func TestAnyChangeOfALeafChangesTheKey(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		request := aRequest().Draw(r, "request").(map[string]any)
		before := keyOf(t, request)
		name := rapid.SampledFrom(keysOf(request)).Draw(r, "changed")
		request[name] = changed(r, request[name])
		if keyOf(t, request) == before {
			r.Fatalf("%v: a change of %q does not show", request, name)
		}
	})
}

// changed changes one leaf of a value.
func changed(r *rapid.T, v any) any {
	switch v := v.(type) {
	case []any:
		if len(v) > 0 {
			i := rapid.IntRange(0, len(v)-1).Draw(r, "element")
			v[i] = changed(r, v[i])
			return v
		}
		return []any{nil}
	case map[string]any:
		if len(v) > 0 {
			name := rapid.SampledFrom(keysOf(v)).Draw(r, "member")
			v[name] = changed(r, v[name])
			return v
		}
		return map[string]any{"": nil}
	case string:
		return v + "x"
	case int64:
		return v ^ 1
	case float64:
		return v + 1
	case bool:
		return !v
	default:
		return false
	}
}

func keysOf(m map[string]any) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	return names
}

func TestKeyIsReadFromItsTextAndItsScope(t *testing.T) {
	scope := cache.Scope{Tenant: "a", Tool: "generate", Model: "tiny", Digest: "sha256:1"}
	key, err := cache.KeyOf(scope, "question")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := cache.ParseKey(scope, key.String()); err != nil || got != key {
		t.Errorf("got %v, %v, want the same key", got, err)
	}
	for _, text := range []string{"", "x", key.String()[2:], key.String() + "00", "zz" + key.String()[2:]} {
		if got, err := cache.ParseKey(scope, text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}
