package pool

import (
	"container/list"
	"time"

	"ollama-mcp/internal/route"
)

// batchTurn is how often batch work gets a turn that interactive calls wait for
// too: each tenth time, so that it goes slowly and never stands still.
const batchTurn = 10

// queue holds the calls that wait, and says whose turn it is on a slot.
//
// Turns go by class, then by fair share between callers, but what a host has in
// memory comes first for a while. Calls that the same hosts can serve equally
// well form a group, so that a turn takes time in the number of groups, models
// mostly, and never in that of the calls. The queue has no lock and no clock.
type queue struct {
	maxPassedOver time.Duration // how long anybody's turn may go to somebody else, unless its model is coming
	classes       [2]class      // by route.Priority
	waiting       int
	bytes         int64
	arrived       int64
	run           int // turns that batch work has waited for
}

// suit says how well the calls of a group suit a host.
type suit int

const (
	never suit = iota // it cannot serve them
	cold              // it has to load the model first
	warm              // it has the model in memory
)

// slot is a free slot of a host, as the queue sees it.
type slot interface {
	suits(groupKey) suit
	// defers reports whether a group that the host could serve, and that has waited
	// since some time, is expected to be done sooner by others, though they are busy.
	defers(k groupKey, since time.Time) bool
	// isComing reports whether another host loads the model of a group, and should soon
	// have it.
	isComing(groupKey) bool
}

// ticket is a call's place in the queue, and its part in the fair share.
type ticket struct {
	group    groupKey
	priority route.Priority
	caller   string
	bytes    int64

	lease *Lease // whose it is; nothing to the queue

	place  int           // expected; guarded by the survey
	number int64         // in the order of turns; 0 for one who never waited
	line   *line         // nil unless it waits
	at     *list.Element // in the line
	passed *list.Element // in the class; nil unless its turn went to somebody else
	since  time.Time     // when that was first so

	share   *share        // nil until it has a slot
	charged time.Duration // what the share was charged in advance
}

// push queues a call; one that has had a turn already comes before the caller's others.
func (q *queue) push(now time.Time, t *ticket, again bool) {
	q.arrived++
	t.number = q.arrived
	if again { // in a group of its own, mostly: some hosts have been tried
		t.number = -q.arrived
	}
	q.classes[t.priority].push(now, t, again)
	q.waiting++
	q.bytes += t.bytes
}

// remove takes a call out of the queue.
func (q *queue) remove(t *ticket) {
	q.classes[t.priority].remove(t)
	q.waiting--
	q.bytes -= t.bytes
}

// pick says whose turn it is on a slot, nil if nobody's. It leaves them waiting.
func (q *queue) pick(now time.Time, s slot) *ticket {
	first, second := route.Interactive, route.Batch
	if q.run >= batchTurn-1 {
		first, second = second, first
	}
	if t := q.classes[first].pick(now, q.maxPassedOver, s); t != nil {
		return t
	}
	return q.classes[second].pick(now, q.maxPassedOver, s)
}

// has reports whether calls of a group wait for which a condition is met.
func (q *queue) has(meets func(groupKey) bool) bool {
	for i := range q.classes {
		for _, g := range q.classes[i].groups {
			if meets(g.key) {
				return true
			}
		}
	}
	return false
}

// start gives a call a slot, whether it has waited or not. Its caller is charged
// the expected time at once, or those who come with many calls would get all the
// slots before any of them ends.
func (q *queue) start(t *ticket, expected time.Duration) {
	if t.line != nil {
		q.remove(t)
	}
	switch {
	case t.priority == route.Batch:
		q.run = 0
	case q.classes[route.Batch].waiting > 0:
		q.run++
	}
	q.classes[t.priority].start(t, expected)
}

// done takes in how long a call held its slot.
func (q *queue) done(t *ticket, held time.Duration) { q.classes[t.priority].done(t, held) }

// nextDue is when somebody who was passed over must be passed over no more.
func (q *queue) nextDue() (due time.Time, ok bool) {
	for i := range q.classes {
		first := q.classes[i].passed.Front()
		if first == nil {
			continue
		}
		if at := first.Value.(*ticket).since.Add(q.maxPassedOver); !ok || at.Before(due) {
			due, ok = at, true
		}
	}
	return due, ok
}

// before is the fair order: by what the callers had, then by their numbers.
func (t *ticket) before(other *ticket) bool {
	a, b := t.line.share, other.line.share
	if a.used != b.used {
		return a.used < b.used
	}
	return t.number < other.number
}
