// Package semantic finds an earlier question that means the same as a new one, and
// rejects those that only look alike.
//
// It promises that a match comes from the namespace of the look-up and has not expired,
// that an index stays within its bounds, and that look-ups take no lock. In doubt two
// questions do not mean the same: a miss costs a call of the model, a false hit costs
// trust. The package neither embeds texts nor stores answers: callers give it vectors, and
// the cache keys of answers.
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
	Bytes   int64         // limit of their memory; 0 means 64 MiB, some 15,000 questions of 768 dimensions
	TTL     time.Duration // age, from Entry.Stored, at which an entry expires; 0 means never
}

const defaultBytes = 64 << 20

// Namespace is what two questions must have in common, besides their meaning, to share
// an answer. A match never comes from another namespace.
type Namespace struct {
	Tenant string // whose questions they are
	Model  string // the model that answers
	// Rest is a hash of everything else that an answer or a vector depends on: the
	// model's files, the embedding model and its files, the system prompt, earlier
	// messages, options and format, but not the question.
	Rest string
}

// Entry is a question that has been answered. K is the type of the keys under which the
// answers are cached.
type Entry[K comparable] struct {
	Key      K                 // of the answer; an index has at most one entry per key
	Question string            // its text
	Answer   [sha256.Size]byte // hash of the answer; equal answers have equal hashes
	Stored   time.Time         // when the answer was made; zero means now
}

// Match is an entry whose question is similar.
type Match[K comparable] struct {
	Entry[K]
	Similarity float64 // cosine similarity of the two vectors, at most 1
}

// Index holds questions by their vectors. New makes one. Its methods are safe for
// concurrent use.
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

// New makes an empty index.
func New[K comparable](o Options) (*Index[K], error) {
	if o.Entries < 0 || o.Bytes < 0 || o.TTL < 0 {
		return nil, fmt.Errorf("semantic: Entries, Bytes and TTL must not be negative, got %d, %d and %v", o.Entries, o.Bytes, o.TTL)
	}
	o.Bytes = cmp.Or(o.Bytes, defaultBytes)
	return &Index[K]{options: o, byKey: make(map[K]*row[K]), oldest: list.New()}, nil
}

// Add adds an entry, or replaces the one with the same key. To make room it removes
// expired entries first, and then the oldest. The vector is copied, and need not be
// normalised. Add fails if the vector is zero, if its dimension is not that of its
// namespace, or if the entry alone exceeds Options.Bytes.
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

// Nearest returns the k entries of a namespace that are most similar to a vector, at most
// 64: the most similar first, and of equals the newer first. The search is approximate and
// may miss an entry that is not similar at all. A zero vector, or one of another
// dimension, has no matches.
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

// Delete removes the entry with a key, and reports whether there was one.
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

// Clear removes all entries of the namespaces for which match returns true, and returns
// how many there were. match must not use the index.
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

// Size is the number of entries and their estimated memory. Expired entries count until
// another is added.
func (x *Index[K]) Size() (entries int, bytes int64) {
	return int(x.entries.Load()), x.bytes.Load()
}

// makeRoom removes expired rows, and the oldest ones as far as needed to add a row.
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

// remove removes a row, and its space with the last of its rows. write is held.
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
