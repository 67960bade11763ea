package semantic

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPickerSelectsTheNearestAsSortingWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const farthest = 20
		want := rapid.IntRange(1, 10).Draw(t, "want")
		batches := rapid.SliceOf(rapid.SliceOfN(rapid.Int32Range(0, farthest), 0, 30)).Draw(t, "distances")
		p := newPicker(want, farthest)
		all := []int32{}
		for _, batch := range batches {
			p.add(batch, len(all))
			all = append(all, batch...)
		}
		seen, got := make(map[int]bool), []int32{}
		for _, r := range p.nearest() {
			if seen[r.at] || all[r.at] != r.distance {
				t.Fatalf("%+v: picked twice, or as far as another", r)
			}
			seen[r.at] = true
			got = append(got, r.distance)
		}
		slices.Sort(got)
		slices.Sort(all)
		if least := all[:min(want, len(all))]; !slices.Equal(got, least) {
			t.Fatalf("picked rows at %v, want %v", got, least)
		}
	})
}

func TestPickerKeepsFewRowsHoweverManyAreEquallyFar(t *testing.T) {
	p := newPicker(10, 20)
	for at := range 1000 {
		p.add([]int32{7}, at)
	}
	if len(p.rows) != 10 || len(p.nearest()) != 10 {
		t.Errorf("%d rows kept, and %d picked, want 10", len(p.rows), len(p.nearest()))
	}
}
