package pool

import (
	"sync"
	"time"

	"ollama-mcp/internal/fairqueue"
	"ollama-mcp/internal/route"
)

// surveyEvery is how old a reported place in the queue may be. Computing the places sorts all
// waiting calls.
const surveyEvery = 250 * time.Millisecond

// survey is the order in which waiting calls are expected to be served.
type survey struct {
	mu sync.Mutex // taken before the pool's
	at time.Time
	fairqueue.Survey[groupKey, *Lease]
}

// standing returns the place of a waiting call and the expected wait.
func (p *Pool) standing(l *Lease) route.Standing {
	place := p.place(l)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !l.ticket.Waits() {
		return route.Standing{Of: p.queue.Len()}
	}
	k := l.ticket.Key
	if place == 0 {
		place = p.upTo(&l.ticket)
	}
	rival := p.rivalsOf(k)
	place = min(place, max(1, p.waiting(fairqueue.Interactive, rival)+p.waiting(fairqueue.Batch, rival)))
	return route.Standing{Place: place, Of: p.queue.Len(), Expect: p.wait(place, k), Loading: p.isBeingLoaded(k), Batch: l.ticket.Class == fairqueue.Batch}
}

// isBeingLoaded reports whether calls of a group wait for their model to be loaded: a host is
// loading it, and no other host that serves them has it in memory.
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

// place returns the place of a lease according to a recent survey; 0 for a call that has come since.
func (p *Pool) place(l *Lease) int {
	s, now := &p.survey, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.at) >= surveyEvery {
		p.mu.Lock()
		s.Take(p.queue, p.expected(l.key()))
		p.mu.Unlock()
		s.at = now
		s.Rank(func(t *ticket, place int) { t.Value.place = place })
	}
	return l.place
}
