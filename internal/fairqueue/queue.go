// Package fairqueue says which of the calls that wait gets the next free slot.
//
// It promises that turns go by class, then by fair share between callers, save that calls
// which fit a slot best come first for a bounded time; and that a turn costs time in the
// number of keys and callers, never in that of the calls. It has no lock, clock or
// goroutine. What a slot is, and which calls fit it, is left to package pool.
package fairqueue

import (
	"cmp"
	"container/list"
	"iter"
	"time"
)

// batchTurn is how often batch work gets a turn that interactive calls wait for
// too: each tenth time, so that it goes slowly and never stands still.
const batchTurn = 10

// Class is the urgency of a call.
type Class int

// The classes, the more urgent first. A free slot goes to the first class that waits for
// it, save one turn in ten for batch work.
const (
	Interactive Class = iota
	Batch
)

// Fit says how well calls of one key fit a slot.
type Fit int

// The fits, from the worst to the best.
const (
	Never Fit = iota // the slot cannot serve them
	Cold             // it can, but has to be prepared first
	Warm             // it is ready for them
)

// Slot is a free slot, as the queue sees it.
type Slot[K comparable] interface {
	// Fit says how well calls of a key fit the slot.
	Fit(K) Fit
	// Defers reports whether calls of a key that the slot could serve, and that have waited
	// since some time, are expected to be done sooner by others, though they are busy.
	Defers(k K, since time.Time) bool
	// IsComing reports whether another slot is being prepared for calls of a key, and should
	// soon be ready.
	IsComing(K) bool
}

// Ticket is a call's place in the queue, and its part in the fair share. Calls of the same
// key fit all slots equally well. The exported fields must not change while the call waits
// or is served.
type Ticket[K comparable, V any] struct {
	Key    K
	Class  Class
	Caller string // whose share the call counts in
	Size   int64  // in bytes, see Queue.Size
	Value  V      // means nothing to the queue

	number int64         // in the order of turns; 0 for a call that never waited
	line   *line[K, V]   // nil unless it waits
	at     *list.Element // in the line
	passed *list.Element // in the group; nil unless its turn went to somebody else
	since  time.Time     // when that was first so
	pass   int64         // in the order in which calls of the class were passed over

	share   *share[K, V]  // nil until it has a slot
	charged time.Duration // what the share was charged in advance
}

// Waits reports whether the call is in a queue.
func (t *Ticket[K, V]) Waits() bool { return t.line != nil }

// Queue holds the calls that wait. Use New to make one; it is not safe for concurrent use.
type Queue[K comparable, V any] struct {
	maxPassedOver time.Duration
	classes       [Batch + 1]class[K, V]
	waiting       int
	size          int64
	arrived       int64
	run           int // turns that batch work has waited for
}

// New makes a queue in which no call is passed over for longer than a time because others
// fit better, unless a slot is being prepared for it.
func New[K comparable, V any](maxPassedOver time.Duration) *Queue[K, V] {
	return &Queue[K, V]{maxPassedOver: maxPassedOver}
}

// Len is how many calls wait.
func (q *Queue[K, V]) Len() int { return q.waiting }

// Size is the sum of their sizes.
func (q *Queue[K, V]) Size() int64 { return q.size }

// LenOf is how many calls of a class wait, and how many callers they are from.
func (q *Queue[K, V]) LenOf(c Class) (calls, callers int) {
	return q.classes[c].waiting, q.classes[c].callers
}

// WaitingOf is how many calls of a caller wait in a class, of keys that meet a condition.
func (q *Queue[K, V]) WaitingOf(c Class, caller string, meets func(K) bool) int {
	return q.classes[c].waitingOf(caller, meets)
}

// Keys returns the keys of the calls that wait in a class, and how many calls have each.
func (q *Queue[K, V]) Keys(c Class) iter.Seq2[K, int] {
	return func(yield func(K, int) bool) {
		for _, g := range q.classes[c].groups {
			if !yield(g.key, g.waiting) {
				return
			}
		}
	}
}

// Callers is how many calls wait, by caller.
func (q *Queue[K, V]) Callers() map[string]int {
	all := make(map[string]int)
	for i := range q.classes {
		for name, share := range q.classes[i].shares {
			if share.waiting > 0 {
				all[name] += share.waiting
			}
		}
	}
	return all
}

// HasKey reports whether calls wait of a key that meets a condition.
func (q *Queue[K, V]) HasKey(meets func(K) bool) bool {
	for i := range q.classes {
		for _, g := range q.classes[i].groups {
			if meets(g.key) {
				return true
			}
		}
	}
	return false
}

// Waits reports whether calls of a key wait.
func (q *Queue[K, V]) Waits(key K) bool {
	for i := range q.classes {
		if q.classes[i].byKey[key] != nil {
			return true
		}
	}
	return false
}

// WithKey returns the calls that wait of keys that meet a condition.
func (q *Queue[K, V]) WithKey(meets func(K) bool) (all []*Ticket[K, V]) {
	for i := range q.classes {
		for _, g := range q.classes[i].groups {
			if meets(g.key) {
				all = g.tickets(all)
			}
		}
	}
	return all
}

// Push queues a call; one that has had a turn already (again) comes before the caller's others.
func (q *Queue[K, V]) Push(now time.Time, t *Ticket[K, V], again bool) {
	q.arrived++
	t.number = q.arrived
	if again { // in a group of its own, mostly: some hosts have been tried
		t.number = -q.arrived
	}
	q.classes[t.Class].push(now, t, again)
	q.waiting++
	q.size += t.Size
}

// Remove takes a call out of the queue.
func (q *Queue[K, V]) Remove(t *Ticket[K, V]) {
	q.classes[t.Class].remove(t)
	q.waiting--
	q.size -= t.Size
}

// Pick says whose turn it is on a slot, nil if nobody's. It leaves them waiting.
func (q *Queue[K, V]) Pick(now time.Time, s Slot[K]) *Ticket[K, V] {
	first, second := Interactive, Batch
	if q.run >= batchTurn-1 {
		first, second = second, first
	}
	if t := q.classes[first].pick(now, q.maxPassedOver, s); t != nil {
		return t
	}
	return q.classes[second].pick(now, q.maxPassedOver, s)
}

// Start gives a call a slot, whether it has waited or not. Its caller is charged
// the expected time at once, or a caller with many calls would get all the slots
// before any of them ends.
func (q *Queue[K, V]) Start(t *Ticket[K, V], expected time.Duration) {
	if t.line != nil {
		q.Remove(t)
	}
	switch {
	case t.Class == Batch:
		q.run = 0
	case q.classes[Batch].waiting > 0:
		q.run++
	}
	q.classes[t.Class].start(t, expected)
}

// Done takes in how long a call held its slot.
func (q *Queue[K, V]) Done(t *Ticket[K, V], held time.Duration) { q.classes[t.Class].done(t, held) }

// NextDue is when somebody who was passed over must be passed over no more.
func (q *Queue[K, V]) NextDue() (due time.Time, ok bool) {
	for i := range q.classes {
		for _, g := range q.classes[i].groups {
			first := g.firstPassed()
			if first == nil {
				continue
			}
			if at := first.since.Add(q.maxPassedOver); !ok || at.Before(due) {
				due, ok = at, true
			}
		}
	}
	return due, ok
}

// compare is the fair order: by what the callers had, then by the numbers of the calls.
func (t *Ticket[K, V]) compare(other *Ticket[K, V]) int {
	return cmp.Or(cmp.Compare(t.line.share.used, other.line.share.used), cmp.Compare(t.number, other.number))
}
