package app

import (
	"slices"
	"testing"
)

func TestBenchPicksALoadedOrSmallChatModel(t *testing.T) {
	best := []candidate{ // the better choice first
		{name: "loaded-small", loaded: true, size: 1},
		{name: "loaded-large", loaded: true, size: 9},
		{name: "a-small", size: 2},
		{name: "b-small", size: 2},
		{name: "large", size: 30},
		{name: "a-fills", loaded: true, inserts: true, size: 1},
		{name: "cloud", loaded: true, cloud: true},
	}
	for i, a := range best {
		for j, b := range best {
			if got := a.compare(b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s before %s: %d", a.name, b.name, got)
			}
		}
	}
	reversed := slices.Clone(best)
	slices.Reverse(reversed)
	if got := slices.MinFunc(reversed, candidate.compare); got.name != best[0].name {
		t.Errorf("picked %s", got.name)
	}
}
