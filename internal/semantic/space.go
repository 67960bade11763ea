package semantic

import (
	"container/list"
	"slices"
	"sync/atomic"
)

const (
	// candidates is the number of rows, nearest by sign code, that are compared exactly.
	// With no more rows than that, the search is exact.
	candidates = 64
	// shortlisted is the number of rows, nearest by sketch, that are compared by sign code.
	// Sketches are less exact than codes, so there are more of them than candidates.
	shortlisted = 4 * candidates
	// chunkRows is the number of rows per chunk. Removing a row copies a chunk, and adding
	// one copies the list of chunks.
	chunkRows = 1024
	// rowOverhead and spaceOverhead are the bytes that a row and a space take besides
	// vectors, codes and strings. They were measured with keys of 96 bytes.
	rowOverhead   = 640
	spaceOverhead = 640
)

// row is an entry with its vector. Both are immutable.
type row[K comparable] struct {
	Entry[K]
	vector    []float32 // of length 1
	namespace Namespace

	// Guarded by Index.write.
	at  int           // position in its space
	age *list.Element // position in Index.oldest
}

func (r *row[K]) size() int64 {
	return int64(4*len(r.vector)+8*codeLen(len(r.vector))+sketchBits/8+len(r.Question)) + rowOverhead
}

// spaceSize is the memory of a space without its rows: a sum and a centre.
func spaceSize(dimensions int) int64 { return int64(12*dimensions) + spaceOverhead }

// space holds the rows of a namespace. Index.write guards its fields.
type space[K comparable] struct {
	sum  []float64 // of all vectors
	rows int
	view atomic.Pointer[view[K]] // read by look-ups
}

// view is an immutable snapshot of a space. Its slices may share arrays with later views,
// which only write beyond the length that this one sees.
type view[K comparable] struct {
	centre []float32 // origin of the sign codes
	chunks []chunk[K]
}

// chunk holds rows and, in arrays of their own, their sketches and codes, so that a scan
// reads little memory and reads it sequentially. All chunks but the last are full.
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
	if s.hasDrifted(old.centre) {
		s.recode(old, r)
		return
	}
	next := &view[K]{centre: old.centre, chunks: slices.Clone(old.chunks)}
	next.append(r)
	s.view.Store(next)
}

// remove replaces the row to remove with the last one.
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

// hasDrifted reports whether the mean of the vectors is further from the centre than a tenth
// of their spread. Embeddings share an offset, so their signs tell them apart only relative
// to their mean. After about a hundred similar vectors the mean hardly moves.
func (s *space[K]) hasDrifted(centre []float32) bool {
	var moved, length float64
	for i, sum := range s.sum {
		mean := sum / float64(s.rows)
		length += mean * mean
		moved += (mean - float64(centre[i])) * (mean - float64(centre[i]))
	}
	// This is the mean square distance of unit vectors from their mean. The lower limit
	// keeps rounding errors out where all vectors are equal.
	spread := max(1-length, 1e-4)
	return moved > spread/100
}

// recode publishes a view of all rows and the added one, with the mean as the new centre.
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

// append adds a row to an unpublished view.
func (v *view[K]) append(r *row[K]) {
	if n := len(v.chunks); n == 0 || len(v.chunks[n-1].rows) == chunkRows {
		v.chunks = append(v.chunks, chunk[K]{})
	}
	last := &v.chunks[len(v.chunks)-1]
	last.sketches = append(last.sketches, sketchOf(r.vector, v.centre))
	last.codes = appendCode(last.codes, r.vector, v.centre)
	last.rows = append(last.rows, r)
}

// pop removes the last row of an unpublished view. It limits the capacity of the slices,
// so that the next append does not overwrite an array that published views share.
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

// replace replaces the row at a position, in copies of the arrays.
func (v *view[K]) replace(at int, r *row[K]) {
	c := &v.chunks[at/chunkRows]
	at %= chunkRows
	c.rows, c.sketches, c.codes = slices.Clone(c.rows), slices.Clone(c.sketches), slices.Clone(c.codes)
	c.rows[at], c.sketches[at] = r, sketchOf(r.vector, v.centre)
	n := codeLen(len(r.vector))
	appendCode(c.codes[:at*n], r.vector, v.centre)
}

// near returns the rows whose codes differ least from that of a vector.
func (v *view[K]) near(vector []float32) []*row[K] {
	var distances [chunkRows]int32
	bySketch, from := newPicker(shortlisted, sketchBits), sketchOf(vector, v.centre)
	for i, c := range v.chunks {
		scan(distances[:len(c.rows)], c.sketches, from)
		bySketch.add(distances[:len(c.rows)], i*chunkRows)
	}
	some := bySketch.nearest()

	byCode, code := newPicker(candidates, len(vector)), appendCode(nil, vector, v.centre)
	for i, p := range some {
		codes := v.chunks[p.at/chunkRows].codes[p.at%chunkRows*len(code):]
		distances[i] = differences(code, codes)
	}
	byCode.add(distances[:len(some)], 0)
	rows := make([]*row[K], 0, candidates)
	for _, p := range byCode.nearest() {
		at := some[p.at].at
		rows = append(rows, v.chunks[at/chunkRows].rows[at%chunkRows])
	}
	return rows
}
