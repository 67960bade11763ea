package semantic

import "slices"

// picker picks the rows with the least distances out of many that it is shown in batches.
// It counts rows by their distance, which is faster than to keep them in order.
type picker struct {
	want   int
	counts []int // of the rows at each distance below bound
	bound  int32 // the rows wanted are nearer
	nearer int   // how many rows are: at least want, once so many have been shown
	rows   []picked
}

// picked is a row, and how far it is.
type picked struct {
	distance int32
	at       int
}

// newPicker makes a picker of so many rows, whose distances are at most farthest.
func newPicker(want, farthest int) *picker {
	return &picker{
		want: want, counts: make([]int, farthest+1), bound: int32(farthest) + 1,
		rows: make([]picked, 0, 2*want),
	}
}

// take shows it the distances of some rows, the first of which is at a position.
func (p *picker) take(distances []int32, at int) {
	bound := p.bound
	if p.nearer >= p.want { // a row as far as the farthest of them is of no use then
		bound--
	}
	counts, nearer := p.counts, p.nearer
	for _, d := range distances {
		if d < bound {
			counts[d]++
			nearer++
		}
	}
	for nearer-counts[p.bound-1] >= p.want {
		p.bound--
		nearer -= counts[p.bound]
	}
	p.nearer = nearer
	bound = min(bound, p.bound)
	for i, d := range distances {
		if d < bound {
			p.rows = append(p.rows, picked{d, at + i})
		}
	}
}

// picked are the rows wanted, in no order, or all if they are fewer.
func (p *picker) picked() []picked {
	last := p.bound - 1
	spare := p.nearer - p.want // of the rows as far as the last
	return slices.DeleteFunc(p.rows, func(r picked) bool {
		if r.distance == last && spare > 0 {
			spare--
			return true
		}
		return r.distance > last
	})
}
