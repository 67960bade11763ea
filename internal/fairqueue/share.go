package fairqueue

import (
	"container/heap"
	"time"
)

// share is what a caller has had of a class.
type share[K comparable, V any] struct {
	used    time.Duration                // the caller's clock
	lines   map[*group[K, V]]*line[K, V] // of the groups in which it waits
	waiting int
	running int
}

// fewShares is how many callers are remembered without looking for idle ones.
const fewShares = 64

// share is that of a caller, made when there is none.
func (c *class[K, V]) share(caller string) *share[K, V] {
	s := c.shares[caller]
	if s == nil {
		c.sweep()
		s = &share[K, V]{lines: make(map[*group[K, V]]*line[K, V], 1)}
		c.shares[caller] = s
	}
	if s.waiting == 0 && s.running == 0 {
		s.used = max(s.used, c.clock)
	}
	return s
}

// sweep forgets callers who are idle and owe nothing, seldom enough to cost
// nothing for each call.
func (c *class[K, V]) sweep() {
	if c.shares == nil {
		c.shares = make(map[string]*share[K, V])
		c.byKey = make(map[K]*group[K, V])
		c.sweepAt = fewShares
	}
	if len(c.shares) < c.sweepAt {
		return
	}
	for name, s := range c.shares {
		if s.waiting == 0 && s.running == 0 && s.used <= c.clock {
			delete(c.shares, name)
		}
	}
	c.sweepAt = 2*len(c.shares) + fewShares
}

// charge adds to what a caller has had, or takes back what it was charged too much.
func (c *class[K, V]) charge(s *share[K, V], d time.Duration) {
	s.used += d
	c.latest = max(c.latest, s.used)
	if d >= 0 {
		return
	}
	for _, l := range s.lines {
		if l.turn > s.used {
			l.turn = s.used
			heap.Fix(&l.group.lines, l.index)
		}
	}
}

// waitingOf is how many calls of a caller wait, of keys that meet a condition.
func (c *class[K, V]) waitingOf(caller string, meets func(K) bool) (n int) {
	if s := c.shares[caller]; s != nil {
		for g, l := range s.lines {
			if meets(g.key) {
				n += l.tickets.Len()
			}
		}
	}
	return n
}
