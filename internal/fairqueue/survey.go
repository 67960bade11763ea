package fairqueue

import (
	"cmp"
	"slices"
	"time"
)

// Survey is the order in which the calls that wait are expected to be served. The zero
// Survey is ready for use, and its memory is used anew each time.
type Survey[K comparable, V any] struct{ order []expectation[K, V] }

// expectation is a waiting call and when its turn should come.
type expectation[K comparable, V any] struct {
	ticket *Ticket[K, V]
	turn   time.Duration // on the clock of its class
	number int64
}

// Take notes the calls that wait, as if each took as long as expected.
func (s *Survey[K, V]) Take(q *Queue[K, V], expected time.Duration) {
	s.order = s.order[:0]
	for i := range q.classes {
		for _, share := range q.classes[i].shares {
			for _, l := range share.lines {
				turn := share.used
				for e := l.tickets.Front(); e != nil; e = e.Next() {
					t := e.Value.(*Ticket[K, V])
					s.order = append(s.order, expectation[K, V]{t, turn, t.number})
					turn += max(expected, 1)
				}
			}
		}
	}
}

// Rank tells the place of each call that was noted, 1 for the first. It does not look at
// the queue, which may have changed.
func (s *Survey[K, V]) Rank(tell func(t *Ticket[K, V], place int)) {
	slices.SortFunc(s.order, func(a, b expectation[K, V]) int {
		return cmp.Or(cmp.Compare(a.ticket.Class, b.ticket.Class), cmp.Compare(a.turn, b.turn), cmp.Compare(a.number, b.number))
	})
	for i := range s.order {
		tell(s.order[i].ticket, i+1)
	}
	clear(s.order) // keeps no ticket from being collected
}
