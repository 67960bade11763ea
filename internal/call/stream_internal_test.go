package call

import (
	"strings"
	"testing"
	"time"
)

func TestStreamedTextIsPrintedOnceAndCannotControlTheTerminal(t *testing.T) {
	for _, c := range []struct {
		name   string
		pieces []textPiece
		answer string
		want   string
	}{
		{"in pieces", []textPiece{{Text: "The qu"}, {Text: "ick"}}, "The quick fox", "The quick fox\n"},
		{"all of it", []textPiece{{Text: "all\n"}}, "all\n", "all\n"},
		{"begun anew", []textPiece{{Text: "one"}, {Text: "two", Again: true}}, "two", "one\n[the answer begins anew]\ntwo\n"},
		{"the first is no new beginning", []textPiece{{Text: "one", Again: true}}, "one", "one\n"},
		{"changed by a filter at the end", []textPiece{{Text: "secret"}}, "******", "secret\n[the complete answer]\n******\n"},
		{"escape sequences", []textPiece{{Text: "a\x1b[2Jb"}}, "a\x1b[2Jb\x07c", "a[2Jbc\n"},
	} {
		var out strings.Builder
		s := newStream(&out)
		for _, p := range c.pieces {
			s.write(p)
		}
		if err := s.finish(c.answer); err != nil || out.String() != c.want {
			t.Errorf("%s: %v, %q, want %q", c.name, err, out.String(), c.want)
		}
	}
}

func TestEmbeddingsAreATableOnATerminal(t *testing.T) {
	o := Options{Person: true}
	var out strings.Builder
	err := o.view("embed")(&out, []byte(`{"model": "e\u001b", "count": 3, "dimensions": 6, "vectors": [[1,2,3,4,5,6], "AAAA", null],
		"errors": [{"index": 2, "code": "upstream", "message": "NaN\u001b"}]}`), time.Now())
	want := "e: 3 of 6 numbers each (--json prints all)\n\n#  FIRST NUMBERS\n0    1.0000   2.0000   3.0000   4.0000   5.0000 …\n1  in base64\n2  failed: NaN [upstream]\n"
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
	o.Person = false
	if o.view("embed") != nil {
		t.Error("in a pipe they are no JSON")
	}
}
