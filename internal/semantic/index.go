// Package semantic finds an earlier question that means the same as a new one,
// and says when the two only look alike.
//
// It promises that a match comes from the namespace asked in and is not older
// than its answer may be; that what it keeps stays within the bounds given; and
// that a look-up waits for nobody. Where it is in doubt whether two questions mean
// the same, they do not: a miss costs a call of the model, a wrong hit costs trust.
// It embeds nothing and keeps no answers: vectors, and the keys under which
// answers are kept elsewhere, are given to it.
package semantic

import (
	"cmp"
	"container/list"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options bound an index. Zero fields take the defaults named.
type Options struct {
	Entries int           // how many; 0 means as many as Bytes hold
	Bytes   int64         // what they may take; 0 means 64 MiB, some 15,000 questions of 768 dimensions
	TTL     time.Duration // how long after Entry.Stored an entry serves; 0 means for ever
}

const defaultBytes = 64 << 20

// Namespace says what two questions must have in common to share an answer,
// beside their meaning. A match never comes from another namespace.
type Namespace struct {
	Tenant string // whose questions they are
	Model  string // that answers
	// Rest stands for all else that an answer, or a vector, depends on: a hash of
	// the model's files, the embedding model and its files, the system prompt,
	// earlier messages, options and format; not of the question.
	Rest string
}

// Entry is a question that has been answered. K is the type of keys of the cache
// that keeps the answers.
type Entry[K comparable] struct {
	Key      K                 // of the answer; an index holds one entry for each
	Question string            // as it was asked
	Answer   [sha256.Size]byte // hash of the answer, to tell one answer from another
	Stored   time.Time         // when the answer was made; zero means now
}

// Match is an entry near a question.
type Match[K comparable] struct {
	Entry[K]
	Similarity float64 // cosine of the angle between the two: 1 is the same direction
}

// Index holds questions by their vectors. Use New to make one; all methods may be
// called from many goroutines.
type Index[K comparable] struct {
	options Options

	// spaces holds a *space[K] for each Namespace with entries. Look-ups read it,
	// and the view of a space, without a lock.
	spaces sync.Map

	// write is held to change what follows, and the spaces. No look-up takes it.
	write  sync.Mutex
	byKey  map[K]*row[K]
	oldest *list.List // of *row[K], in the order in which they were added

	entries, bytes atomic.Int64
}

// New makes an index that holds nothing yet.
func New[K comparable](o Options) (*Index[K], error) {
	if o.Entries < 0 || o.Bytes < 0 || o.TTL < 0 {
		return nil, fmt.Errorf("semantic: Entries, Bytes and TTL must not be negative, got %d, %d and %v", o.Entries, o.Bytes, o.TTL)
	}
	o.Bytes = cmp.Or(o.Bytes, defaultBytes)
	return &Index[K]{options: o, byKey: make(map[K]*row[K]), oldest: list.New()}, nil
}

// Add puts an entry in place of the one with its key. What has expired makes
// room, and after it the oldest. The vector may have any length but zero; it is
// copied. It is refused where it has no direction, where its dimension is not
// that of its namespace, and where the entry is larger than Options.Bytes.
func (x *Index[K]) Add(ns Namespace, vector []float32, e Entry[K]) error {
	unit, err := normalise(vector)
	if err != nil {
		return err
	}
	if e.Stored.IsZero() {
		e.Stored = time.Now()
	}
	e.Stored = e.Stored.Round(0) // ages go by the wall clock, which does not stop while a laptop sleeps
	added := &row[K]{Entry: e, vector: unit, namespace: ns}
	if added.size()+spaceSize(len(unit)) > x.options.Bytes {
		return fmt.Errorf("semantic: a question of %d bytes and %d dimensions does not fit in %d bytes", len(e.Question), len(unit), x.options.Bytes)
	}

	x.write.Lock()
	defer x.write.Unlock()
	if s := x.space(ns); s != nil && len(s.sum) != len(unit) {
		return fmt.Errorf("semantic: a vector of %d dimensions among those of %d", len(unit), len(s.sum))
	}
	if old := x.byKey[e.Key]; old != nil {
		x.remove(old)
	}
	x.makeRoom(added)
	s := x.space(ns)
	if s == nil {
		s = newSpace[K](len(unit))
		x.spaces.Store(ns, s)
		x.bytes.Add(spaceSize(len(unit)))
	}
	s.add(added)
	x.byKey[e.Key] = added
	added.age = x.oldest.PushBack(added)
	x.entries.Add(1)
	x.bytes.Add(added.size())
	return nil
}

// Nearest are the k entries of a namespace that are most similar to a vector, the
// best first and the newer first among equals; no more than 64. It may miss one
// that is not similar at all. A vector without direction, or of another dimension, is near none.
func (x *Index[K]) Nearest(ns Namespace, vector []float32, k int) []Match[K] {
	unit, err := normalise(vector)
	s := x.space(ns)
	if err != nil || s == nil || len(s.sum) != len(unit) {
		return nil
	}
	now := time.Now()
	type scored struct {
		*row[K]
		similarity float32
	}
	best := make([]scored, 0, candidates)
	for _, r := range s.view.Load().near(unit) {
		if !x.expired(r, now) {
			best = append(best, scored{r, dot(unit, r.vector)})
		}
	}
	slices.SortFunc(best, func(a, b scored) int {
		if a.similarity != b.similarity {
			return cmp.Compare(b.similarity, a.similarity)
		}
		return b.Stored.Compare(a.Stored)
	})
	matches := make([]Match[K], min(k, len(best)))
	for i := range matches {
		matches[i] = Match[K]{best[i].Entry, min(1, float64(best[i].similarity))}
	}
	return matches
}

// Delete removes the entry with a key, and says whether there was one.
func (x *Index[K]) Delete(key K) bool {
	x.write.Lock()
	defer x.write.Unlock()
	r := x.byKey[key]
	if r == nil {
		return false
	}
	x.remove(r)
	return true
}

// Clear removes all entries of the namespaces that match, and says how many they
// were. match must not use the index.
func (x *Index[K]) Clear(match func(Namespace) bool) int {
	x.write.Lock()
	defer x.write.Unlock()
	removed := 0
	for _, r := range x.byKey {
		if match(r.namespace) {
			x.remove(r)
			removed++
		}
	}
	return removed
}

// Size is how many entries there are and what they take, by the index's own
// reckoning. Entries that have expired count until another is added.
func (x *Index[K]) Size() (entries int, bytes int64) {
	return int(x.entries.Load()), x.bytes.Load()
}

// makeRoom removes the expired, and the oldest as far as needed to add a row.
func (x *Index[K]) makeRoom(added *row[K]) {
	need := added.size()
	if x.space(added.namespace) == nil {
		need += spaceSize(len(added.vector))
	}
	now := time.Now()
	for e := x.oldest.Front(); e != nil; e = x.oldest.Front() {
		r := e.Value.(*row[K])
		full := x.options.Entries > 0 && len(x.byKey) >= x.options.Entries
		if !full && !x.expired(r, now) && x.bytes.Load()+need <= x.options.Bytes {
			return
		}
		x.remove(r)
	}
}

// remove takes a row out, and its space with the last of its rows. write is held.
func (x *Index[K]) remove(r *row[K]) {
	s := x.space(r.namespace)
	s.remove(r)
	if s.rows == 0 {
		x.spaces.Delete(r.namespace)
		x.bytes.Add(-spaceSize(len(r.vector)))
	}
	delete(x.byKey, r.Key)
	x.oldest.Remove(r.age)
	x.entries.Add(-1)
	x.bytes.Add(-r.size())
}

func (x *Index[K]) expired(r *row[K], now time.Time) bool {
	return x.options.TTL > 0 && now.Sub(r.Stored) >= x.options.TTL
}

func (x *Index[K]) space(ns Namespace) *space[K] {
	s, ok := x.spaces.Load(ns)
	if !ok {
		return nil
	}
	return s.(*space[K])
}
