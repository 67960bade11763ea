package fairqueue

import (
	"cmp"
	"container/heap"
	"slices"
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
	callers int            // that wait
	clock   time.Duration  // where newcomers start
	latest  time.Duration  // the furthest that anybody's clock has come
	sweepAt int            // number of shares at which the idle ones are forgotten
	passes  int64          // calls that were passed over so far
	order   []*group[K, V] // scratch of pick
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
		g.passed.Remove(t.passed)
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

// pick says whose turn it is on a slot, nil if nobody's. Groups are asked how they fit in the order
// of their turns, and only until the answer is known: on a slot that suits most calls, that is soon.
func (c *class[K, V]) pick(now time.Time, maxPassedOver time.Duration, s Slot[K]) *Ticket[K, V] {
	if t := c.overdue(now, maxPassedOver, s); t != nil {
		return t
	}
	c.order = append(c.order[:0], c.groups...)
	for _, g := range c.order {
		g.next = g.first()
	}
	slices.SortFunc(c.order, func(a, b *group[K, V]) int { return a.next.compare(b.next) })
	var fair, chosen *Ticket[K, V] // fair is whose turn it would be, did all suit equally well
	cold := c.order[:0]            // groups that fit and whose calls come if no others suit better
	for _, g := range c.order {
		fit := s.Fit(g.key)
		if fit == Never {
			continue
		}
		if fair == nil {
			fair = g.next
		}
		if fit == Cold {
			cold = append(cold, g)
		} else if !s.Defers(g.key, g.since) {
			chosen = g.next
			break
		}
	}
	for i := 0; chosen == nil && i < len(cold); i++ {
		if g := cold[i]; !s.Defers(g.key, g.since) {
			chosen = g.next
		}
	}
	if fair != chosen && fair.passed == nil {
		c.passes++
		fair.since, fair.pass = now, c.passes
		fair.passed = fair.line.group.passed.PushBack(fair)
	}
	return chosen
}

// overdue returns the call that must be passed over no more and has been so for the longest, among
// those which fit a slot; nil if there is none. Calls of a group fit alike, so that of each group
// only the first counts.
func (c *class[K, V]) overdue(now time.Time, maxPassedOver time.Duration, s Slot[K]) *Ticket[K, V] {
	c.order = c.order[:0]
	for _, g := range c.groups {
		if g.next = g.firstPassed(); g.next != nil && now.Sub(g.next.since) >= maxPassedOver {
			c.order = append(c.order, g)
		}
	}
	slices.SortFunc(c.order, func(a, b *group[K, V]) int { return cmp.Compare(a.next.pass, b.next.pass) })
	for _, g := range c.order {
		if s.Fit(g.key) != Never && !s.IsComing(g.key) {
			return g.next
		}
	}
	return nil
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
