package semantic

import "slices"

// picker selects the k nearest rows from distances that arrive in batches. It counts rows
// by distance, which is faster than keeping them in a heap.
type picker struct {
	k      int
	counts []int // number of rows at each distance below bound
	bound  int32 // all rows to select have a smaller distance
	nearer int   // number of rows below bound: at least k once k rows have been added
	rows   []picked
}

// picked is the position of a row and its distance.
type picked struct {
	distance int32
	at       int
}

// newPicker returns a picker of k rows with distances up to maxDistance.
func newPicker(k, maxDistance int) *picker {
	return &picker{
		k: k, counts: make([]int, maxDistance+1), bound: int32(maxDistance) + 1,
		rows: make([]picked, 0, 2*k),
	}
}

// add adds the distances of consecutive rows, the first of which is at position at.
func (p *picker) add(distances []int32, at int) {
	bound := p.bound
	if p.nearer >= p.k { // enough rows: another one at the largest distance cannot be selected
		bound--
	}
	counts, nearer := p.counts, p.nearer
	for _, d := range distances {
		if d < bound {
			counts[d]++
			nearer++
		}
	}
	for nearer-counts[p.bound-1] >= p.k {
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

// nearest returns the k nearest rows in no particular order, or all rows if there are fewer.
func (p *picker) nearest() []picked {
	last := p.bound - 1
	spare := p.nearer - p.k // rows at the largest distance that are not needed
	return slices.DeleteFunc(p.rows, func(r picked) bool {
		if r.distance == last && spare > 0 {
			spare--
			return true
		}
		return r.distance > last
	})
}
