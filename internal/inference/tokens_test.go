package inference

import (
	"fmt"
	"testing"
)

func TestBytesPerTokenAreLearnedFromLongPrompts(t *testing.T) {
	type sample struct{ bytes, counted int }
	for name, c := range map[string]struct {
		samples []sample
		want    int // tokens of 12,000 bytes
		least   int
	}{
		"nothing is known": {nil, 3000, 3000},
		"long tokens":      {[]sample{{12000, 2000}}, 2000, 2000},
		"short tokens, and the next may be English": {[]sample{{12000, 8000}}, 8000, 3000},
		"a prompt that is mostly template":          {[]sample{{100, 90}}, 3000, 3000},
		"a count that leaves out what was known":    {[]sample{{12000, 10}, {12000, 0}}, 3000, 3000},
		"the mean moves, and the longest stays":     {[]sample{{12000, 2000}, {12000, 6000}}, 2308, 2000},
	} {
		l := new(tokenCounts)
		for _, s := range c.samples {
			l.learn("tiny", s.bytes, s.counted)
		}
		r := l.of("tiny:latest")
		if got := r.count(12000); got != c.want {
			t.Errorf("%s: about %d tokens, want %d", name, got, c.want)
		}
		if got := r.leastCount(12000); got != c.least {
			t.Errorf("%s: at least %d tokens, want %d", name, got, c.least)
		}
	}
}

func TestPromptOfALetterHasAToken(t *testing.T) {
	r := new(tokenCounts).of("tiny")
	for bytes, want := range map[int]int{0: 0, 1: 1, 4: 1, 5: 2} {
		if got := r.count(bytes); got != want {
			t.Errorf("%d bytes: about %d tokens, want %d", bytes, got, want)
		}
	}
}

func TestTokenRatiosAreEvictedOneByOne(t *testing.T) {
	l := new(tokenCounts)
	for i := range 5 * maxRatios {
		l.learn(fmt.Sprint("model ", i), 12000, 2000)
		l.learn("busy", 12000, 2000)
	}
	if n := l.all.Len(); n != maxRatios {
		t.Errorf("%d models are remembered, want %d", n, maxRatios)
	}
	if got := l.of("busy").count(12000); got != 2000 {
		t.Errorf("the model in use was forgotten: %d tokens", got)
	}
}

func TestShortTokensDoNotLookLikeTruncation(t *testing.T) {
	l := new(tokenCounts)
	l.learn("tiny", 12000, 12000)
	r := l.of("tiny")
	if r.looksCut(12000, 3000) {
		t.Error("English after a text with a token per byte counts as cut")
	}
	if !r.looksCut(12000, 500) {
		t.Error("24 bytes to a token do not count as cut")
	}
}
