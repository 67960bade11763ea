package cache

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

type text string

func (t text) Size() int { return len(t) }

func TestKeysWithOneHashAreToldApart(t *testing.T) {
	c, err := New[int](Options{Size: 1 << 20, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	one, other := Key{scope: Scope{Tenant: "a"}}, Key{scope: Scope{Tenant: "b"}}
	other.sum[20] = 1
	if one.hash() != other.hash() {
		t.Fatal("the keys have two hashes")
	}
	c.Set(one, Entry{Value: text("of one")})
	if e, ok := c.Get(other); ok {
		t.Errorf("got %q under the other key", e.Value)
	}
	c.Set(other, Entry{Value: text("of the other")})
	if e, _ := c.Get(other); e.Value != text("of the other") {
		t.Errorf("got %q, want the entry that was set last", e.Value)
	}
	if e, ok := c.Get(one); ok {
		t.Errorf("got %q under a key that has made room", e.Value)
	}
}

func TestCanonicalNumbersAreEqualIfTheirValuesAre(t *testing.T) {
	for literal, want := range map[string]string{
		"1": "1", "1.0": "1", "1e0": "1", "10E-1": "1", "0.1e+1": "1",
		"100": "1e2", "1e2": "1e2", "-0.5": "-5e-1", "-5e-1": "-5e-1",
		"0": "0", "-0": "0", "0.00": "0", "0e7": "0",
		"9007199254740993":              "9007199254740993", // a float64 would make it …992
		"123456789012345678901234567":   "123456789012345678901234567",
		"0.1234567890123456789":         "1234567890123456789e-19",
		"1e99999999999999999999":        "1e99999999999999999999",
		"10e2147483647":                 "1e2147483648",
		"1.7976931348623157e308":        "17976931348623157e292",
		"12345678901234567890000000000": "1234567890123456789e10",
	} {
		if got := string(appendCanonical(nil, []byte(literal))); got != want {
			t.Errorf("%s becomes %s, want %s", literal, got, want)
		}
	}
}

func TestCanonicalStringsAreEqualIfTheirTextsAre(t *testing.T) {
	for _, same := range [][]string{
		{`"a/b"`, `"a\/b"`, `"\u0061/b"`},
		{`"<é&>"`, `"\u003c\u00e9\u0026\u003E"`, `"\u003cé&\u003e"`},
		{`"\n\t\\\""`, `"\u000a\u0009\u005c\u0022"`},
		{`"\ud83d\ude00"`, `"😀"`},
		{`""`},
		{`"\\u003c"`}, // a backslash and text, not a <
	} {
		for _, literal := range same {
			if got, want := canonicalOf(t, literal), canonicalOf(t, same[0]); got != want {
				t.Errorf("%s becomes %s, and %s %s", literal, got, same[0], want)
			}
			var got, want string
			if json.Unmarshal([]byte(canonicalOf(t, literal)), &got) != nil || json.Unmarshal([]byte(literal), &want) != nil || got != want {
				t.Errorf("%s becomes %q, want the same text", literal, got)
			}
		}
	}
}

// canonicalOf is the canonical form of JSON embedded in a request.
func canonicalOf(t *testing.T, embedded string) string {
	t.Helper()
	raw, err := json.Marshal(json.RawMessage(embedded))
	if err != nil {
		t.Fatal(err)
	}
	return string(appendCanonical(nil, raw))
}

// TestEntryExpiresByTheWallClock is about laptops: the monotonic clock stands still
// while they sleep.
func TestEntryExpiresByTheWallClock(t *testing.T) {
	c, err := New[int](Options{Size: 1 << 20, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	key, err := KeyOf(Scope{}, "question")
	if err != nil {
		t.Fatal(err)
	}
	c.Set(key, Entry{Value: text("answer")})
	e, _ := c.Get(key)
	if strings.Contains(e.Stored.String(), "m=") {
		t.Errorf("Stored is %v, want no monotonic reading in it", e.Stored)
	}
	for _, slept := range []time.Duration{0, 59 * time.Minute, time.Hour, time.Hour + 1, 8 * time.Hour} {
		c.kept.now = func() time.Time { return e.Stored.Add(slept) }
		if _, ok := c.Get(key); ok != (slept <= time.Hour) {
			t.Errorf("after a sleep of %v: found %v", slept, ok)
		}
	}
}
