package pool

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"ollama-mcp/internal/route"
)

// surveyEvery is how old a place in the queue may be when it is told. Finding
// the places means to sort all that wait.
const surveyEvery = 250 * time.Millisecond

// survey is the order in which the waiting calls are expected to be served.
type survey struct {
	mu    sync.Mutex // taken before the pool's
	at    time.Time
	order []expectation
}

// expectation is a waiting call and when its turn should come.
type expectation struct {
	ticket   *ticket
	priority route.Priority
	turn     time.Duration // on the clock of its class
	number   int64
}

// standing tells how the wait of a lease stands.
func (p *Pool) standing(l *Lease) route.Standing {
	place := p.place(l)
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.ticket.line == nil {
		return route.Standing{Of: p.queue.waiting}
	}
	place = min(place, p.queue.waiting)
	k := l.ticket.group
	return route.Standing{Place: place, Of: p.queue.waiting, Expect: p.wait(place, k), Loading: p.isBeingLoaded(k)}
}

// isBeingLoaded reports whether calls of a group wait for their model: a host loads it,
// and no other that serves them has it.
func (p *Pool) isBeingLoaded(k groupKey) (loading bool) {
	now := time.Now()
	for _, h := range p.hosts {
		switch {
		case !p.serves(h, k, now):
		case h.loader(k.model.model) != nil:
			loading = true
		case h.memory.holds(k.model):
			return false
		}
	}
	return loading
}

// place is the place of a lease by a survey that is new enough, and knows it.
func (p *Pool) place(l *Lease) int {
	s, now := &p.survey, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.ticket.place == 0 || now.Sub(s.at) >= surveyEvery {
		p.mu.Lock()
		s.order = p.queue.expectations(s.order[:0], p.expected(l.key()))
		p.mu.Unlock()
		s.at = now
		s.rank()
	}
	return l.ticket.place
}

// rank gives the tickets their places.
func (s *survey) rank() {
	slices.SortFunc(s.order, func(a, b expectation) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.turn, b.turn), cmp.Compare(a.number, b.number))
	})
	for i := range s.order {
		s.order[i].ticket.place = i + 1
	}
	clear(s.order) // keeps no ticket from being collected
}

// expectations appends all that wait, as if each call took as long as expected.
func (q *queue) expectations(all []expectation, expected time.Duration) []expectation {
	for i := range q.classes {
		for _, s := range q.classes[i].shares {
			for _, l := range s.lines {
				turn := s.used
				for e := l.tickets.Front(); e != nil; e = e.Next() {
					t := e.Value.(*ticket)
					all = append(all, expectation{t, t.priority, turn, t.number})
					turn += max(expected, 1)
				}
			}
		}
	}
	return all
}
