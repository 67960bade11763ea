package pool

import (
	"sync"
	"time"

	"ollama-mcp/internal/fairqueue"
	"ollama-mcp/internal/route"
)

// surveyEvery is how old a reported place in the queue may be. Computing the places sorts all
// waiting calls.
const surveyEvery = time.Second

// survey is the order in which waiting calls are expected to be served, and what each group may
// expect.
type survey struct {
	mu sync.Mutex // taken before the pool's
	at time.Time
	fairqueue.Survey[groupKey, *Lease]
	groups map[groupKey]outlook // those that somebody has asked about since
}

// standing returns the place of a waiting call and the expected wait, as of a moment ago: with ten
// thousand waiting calls, each of which is told now and then, most of it is computed once for all.
func (p *Pool) standing(l *Lease) route.Standing {
	s := &p.survey
	s.mu.Lock()
	defer s.mu.Unlock()
	place := p.place(l)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !l.ticket.Waits() {
		return route.Standing{Of: p.queue.Len()}
	}
	k := l.ticket.Key
	group, ok := s.groups[k]
	if !ok {
		group = p.outlookOf(k)
		s.groups[k] = group
	}
	if place == 0 {
		place = p.upTo(&l.ticket, p.rivalsOf(k))
	} else {
		place = max(1, min(place, group.rivals, p.queue.Len())) // not all that go before are rivals
	}
	return route.Standing{Place: place, Of: p.queue.Len(), Expect: group.wait(place), Loading: group.loading, Batch: l.ticket.Class == fairqueue.Batch}
}

// place returns the place of a lease according to a recent survey; 0 for a call that has come since.
func (p *Pool) place(l *Lease) int {
	s, now := &p.survey, time.Now()
	if now.Sub(s.at) >= surveyEvery {
		p.mu.Lock()
		s.Take(p.queue, p.expected(l.key()))
		p.mu.Unlock()
		s.at, s.groups = now, make(map[groupKey]outlook)
		s.Rank(func(t *ticket, place int) { t.Value.place = place })
	}
	return l.place
}
