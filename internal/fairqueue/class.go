package fairqueue

import (
	"container/heap"
	"container/list"
	"time"
)

// class holds the calls of one class, and the callers they come from.
//
// Callers share by start-time fair queueing (Goyal, Vin and Cheng, 1996): each
// has a clock that advances by the time its calls hold slots, and the caller whose
// clock is behind goes next. A caller that is new, or was idle, starts at the clock
// of the class, so that being idle earns no credit.
type class[K comparable, V any] struct {
	groups  []*group[K, V]
	byKey   map[K]*group[K, V]
	shares  map[string]*share[K, V]
	waiting int
	callers int           // that wait
	clock   time.Duration // where newcomers start
	latest  time.Duration // the furthest that anybody's clock has come
	sweepAt int           // number of shares at which the idle ones are forgotten
	passed  list.List     // of *Ticket, the longest passed over first
}

func (c *class[K, V]) push(now time.Time, t *Ticket[K, V], again bool) {
	s := c.share(t.Caller)
	g := c.group(now, t.Key)
	l := s.lines[g]
	if l == nil {
		l = &line[K, V]{share: s, group: g, turn: s.used, number: t.number}
		s.lines[g] = l
		heap.Push(&g.lines, l)
	}
	t.line = l
	if again {
		t.at = l.tickets.PushFront(t)
		l.changed()
	} else {
		t.at = l.tickets.PushBack(t)
	}
	if s.waiting == 0 {
		c.callers++
	}
	s.waiting++
	g.waiting++
	c.waiting++
}

func (c *class[K, V]) remove(t *Ticket[K, V]) {
	l := t.line
	g, s := l.group, l.share
	if l.tickets.Len() == 1 {
		heap.Remove(&g.lines, l.index)
		delete(s.lines, g)
		if len(g.lines) == 0 {
			c.drop(g)
		}
	}
	l.tickets.Remove(t.at)
	if l.tickets.Len() > 0 {
		l.changed()
	}
	if t.passed != nil {
		c.passed.Remove(t.passed)
	}
	t.line, t.at, t.passed = nil, nil, nil
	c.waiting--
	g.waiting--
	if s.waiting--; s.waiting == 0 {
		c.callers--
	}
}

// group is the one of a key, made when there is none.
func (c *class[K, V]) group(now time.Time, key K) *group[K, V] {
	g := c.byKey[key]
	if g == nil {
		g = &group[K, V]{key: key, since: now, index: len(c.groups)}
		c.byKey[key] = g
		c.groups = append(c.groups, g)
	}
	return g
}

func (c *class[K, V]) drop(g *group[K, V]) {
	last := len(c.groups) - 1
	c.groups[g.index] = c.groups[last]
	c.groups[g.index].index = g.index
	c.groups[last] = nil
	c.groups = c.groups[:last]
	delete(c.byKey, g.key)
}

// pick says whose turn it is on a slot, nil if nobody's.
func (c *class[K, V]) pick(now time.Time, maxPassedOver time.Duration, s Slot[K]) *Ticket[K, V] {
	for e := c.passed.Front(); e != nil; e = e.Next() {
		t := e.Value.(*Ticket[K, V])
		if now.Sub(t.since) < maxPassedOver {
			break
		}
		if s.Fit(t.Key) != Never && !s.IsComing(t.Key) {
			return t
		}
	}
	var fair *Ticket[K, V] // whose turn it would be, did all suit equally well
	var best [Warm + 1]*Ticket[K, V]
	for _, g := range c.groups {
		fit := s.Fit(g.key)
		if fit == Never {
			continue
		}
		t := g.first()
		if fair == nil || t.before(fair) {
			fair = t
		}
		if (best[fit] == nil || t.before(best[fit])) && !s.Defers(g.key, g.since) {
			best[fit] = t
		}
	}
	chosen := best[Warm]
	if chosen == nil {
		chosen = best[Cold]
	}
	if fair != chosen && fair.passed == nil {
		fair.since = now
		fair.passed = c.passed.PushBack(fair)
	}
	return chosen
}

func (c *class[K, V]) start(t *Ticket[K, V], expected time.Duration) {
	s := c.share(t.Caller)
	c.clock = max(c.clock, s.used)
	t.share, t.charged = s, expected
	s.running++
	c.charge(s, expected)
	if c.waiting == 0 {
		c.clock = max(c.clock, c.latest-expected) // nobody was kept waiting, so nobody owes more than this call
	}
}

func (c *class[K, V]) done(t *Ticket[K, V], held time.Duration) {
	s := t.share
	s.running--
	c.charge(s, held-t.charged)
	t.share = nil
	if c.waiting == 0 {
		c.clock = c.latest // nor does anybody owe it when it has ended
		return
	}
	// Newcomers start where all would be had the class been shared in tiny pieces: else a
	// stream of callers who come only once would starve the rest. What a call takes counts
	// when it has ended, or a newcomer would wait for one more call of a caller who has a slot.
	callers := c.callers
	if s.waiting == 0 {
		callers++
	}
	c.clock = min(c.clock+held/time.Duration(callers), max(c.clock, c.latest))
}
