package semantic

import (
	"container/list"
	"slices"
	"sync/atomic"
)

const (
	// candidates is how many rows, the nearest by their codes, are compared
	// exactly. Where fewer than so many are kept, the search is exact.
	candidates = 64
	// shortlisted is how many rows, the nearest by their sketches, are compared by their
	// codes: so many more that the wider error of a sketch loses none that matters.
	shortlisted = 4 * candidates
	// chunkRows is how many rows share an array of codes: the more, the more there
	// is to copy when one is removed; the fewer, the more arrays there are to list.
	chunkRows = 1024
	// rowOverhead and spaceOverhead are what a row and a space take beside vectors,
	// codes and strings: measured, with keys of 96 bytes.
	rowOverhead   = 640
	spaceOverhead = 640
)

// row is an entry and its vector, which do not change.
type row[K comparable] struct {
	Entry[K]
	vector    []float32 // of length 1
	namespace Namespace

	// Guarded by Index.write.
	at  int           // where it is in its space
	age *list.Element // where it is in Index.oldest
}

func (r *row[K]) size() int64 {
	return int64(4*len(r.vector)+8*codeLen(len(r.vector))+sketchBits/8+len(r.Question)) + rowOverhead
}

// spaceSize is what a space takes without its rows: a sum and a centre.
func spaceSize(dimensions int) int64 { return int64(12*dimensions) + spaceOverhead }

// space holds the rows of a namespace. Index.write guards its fields.
type space[K comparable] struct {
	sum  []float64 // of all vectors
	rows int
	view atomic.Pointer[view[K]] // what look-ups see
}

// view is a space at one moment. Once published it does not change: an array may
// have more behind its end, which belongs to later views.
type view[K comparable] struct {
	centre []float32 // that the codes are relative to
	chunks []chunk[K]
}

// chunk is some rows with their sketches side by side, so that a scan reads little
// memory, and all of it in order. All chunks but the last are full.
type chunk[K comparable] struct {
	sketches []sketch
	codes    []uint64
	rows     []*row[K]
}

func newSpace[K comparable](dimensions int) *space[K] {
	s := &space[K]{sum: make([]float64, dimensions)}
	s.view.Store(&view[K]{centre: make([]float32, dimensions)})
	return s
}

func (s *space[K]) add(r *row[K]) {
	old := s.view.Load()
	r.at = s.rows
	s.rows++
	for i, f := range r.vector {
		s.sum[i] += float64(f)
	}
	if s.strayed(old.centre) {
		s.recode(old, r)
		return
	}
	next := &view[K]{centre: old.centre, chunks: slices.Clone(old.chunks)}
	next.append(r)
	s.view.Store(next)
}

// remove puts the last row in the place of the one to remove.
func (s *space[K]) remove(r *row[K]) {
	old := s.view.Load()
	next := &view[K]{centre: old.centre, chunks: slices.Clone(old.chunks)}
	last := next.pop(len(r.vector))
	if last != r {
		next.replace(r.at, last)
		last.at = r.at
	}
	s.view.Store(next)
	s.rows--
	for i, f := range r.vector {
		s.sum[i] -= float64(f)
	}
}

// strayed says that the vectors' mean is further from the centre than a tenth of
// their spread. Embeddings share an offset: as seen from elsewhere they are all
// on one side, and their signs alike. The mean of a hundred like ones stays put.
func (s *space[K]) strayed(centre []float32) bool {
	var moved, length float64
	for i, sum := range s.sum {
		mean := sum / float64(s.rows)
		length += mean * mean
		moved += (mean - float64(centre[i])) * (mean - float64(centre[i]))
	}
	// The mean square distance of vectors of length 1 from their mean, and not the
	// rounding errors that are left of it where all are the same.
	spread := max(1-length, 1e-4)
	return moved > spread/100
}

// recode publishes a view of all rows, and one more, around their mean.
func (s *space[K]) recode(old *view[K], added *row[K]) {
	next := &view[K]{centre: make([]float32, len(s.sum))}
	for i, sum := range s.sum {
		next.centre[i] = float32(sum / float64(s.rows))
	}
	for _, c := range old.chunks {
		for _, r := range c.rows {
			next.append(r)
		}
	}
	next.append(added)
	s.view.Store(next)
}

// append adds a row to a view that is not yet published.
func (v *view[K]) append(r *row[K]) {
	if n := len(v.chunks); n == 0 || len(v.chunks[n-1].rows) == chunkRows {
		v.chunks = append(v.chunks, chunk[K]{})
	}
	last := &v.chunks[len(v.chunks)-1]
	last.sketches = append(last.sketches, sketchOf(r.vector, v.centre))
	last.codes = appendCode(last.codes, r.vector, v.centre)
	last.rows = append(last.rows, r)
}

// pop takes off the last row. What is appended next goes to another array, since
// published views show this one.
func (v *view[K]) pop(dimensions int) *row[K] {
	last := &v.chunks[len(v.chunks)-1]
	n := len(last.rows) - 1
	r := last.rows[n]
	last.rows, last.sketches = last.rows[:n:n], last.sketches[:n:n]
	n *= codeLen(dimensions)
	last.codes = last.codes[:n:n]
	if n == 0 {
		v.chunks = v.chunks[:len(v.chunks)-1]
	}
	return r
}

// replace puts a row in the place of another, in arrays of its own.
func (v *view[K]) replace(at int, r *row[K]) {
	c := &v.chunks[at/chunkRows]
	at %= chunkRows
	c.rows, c.sketches, c.codes = slices.Clone(c.rows), slices.Clone(c.sketches), slices.Clone(c.codes)
	c.rows[at], c.sketches[at] = r, sketchOf(r.vector, v.centre)
	n := codeLen(len(r.vector))
	appendCode(c.codes[:at*n], r.vector, v.centre)
}

// near are the rows whose codes differ least from that of a vector.
func (v *view[K]) near(vector []float32) []*row[K] {
	var distances [chunkRows]int32
	bySketch, from := newPicker(shortlisted, sketchBits), sketchOf(vector, v.centre)
	for i, c := range v.chunks {
		scan(distances[:len(c.rows)], c.sketches, from)
		bySketch.take(distances[:len(c.rows)], i*chunkRows)
	}
	some := bySketch.picked()

	byCode, code := newPicker(candidates, len(vector)), appendCode(nil, vector, v.centre)
	for i, p := range some {
		codes := v.chunks[p.at/chunkRows].codes[p.at%chunkRows*len(code):]
		distances[i] = differences(code, codes)
	}
	byCode.take(distances[:len(some)], 0)
	rows := make([]*row[K], 0, candidates)
	for _, p := range byCode.picked() {
		at := some[p.at].at
		rows = append(rows, v.chunks[at/chunkRows].rows[at%chunkRows])
	}
	return rows
}
