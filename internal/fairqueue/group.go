package fairqueue

import (
	"container/heap"
	"container/list"
	"time"
)

// group is the calls of one key: the lines of their
// callers, the one with the least share first.
type group[K comparable, V any] struct {
	key     K
	since   time.Time // when it was last empty
	lines   lines[K, V]
	waiting int           // calls in all lines
	index   int           // in class.groups
	passed  list.List     // of *Ticket, the longest passed over first
	next    *Ticket[K, V] // scratch of class.pick
}

// firstPassed is the call that was passed over for the longest; nil if none was.
func (g *group[K, V]) firstPassed() *Ticket[K, V] {
	if e := g.passed.Front(); e != nil {
		return e.Value.(*Ticket[K, V])
	}
	return nil
}

// first is the call whose turn comes first. Shares grow without the heaps being
// told, or each call would move its caller in all groups; so the line at the front is
// checked again.
func (g *group[K, V]) first() *Ticket[K, V] {
	front := g.lines[0]
	for front.turn < front.share.used {
		front.turn = front.share.used
		heap.Fix(&g.lines, 0)
		front = g.lines[0]
	}
	return front.first()
}

// tickets appends the calls of a group.
func (g *group[K, V]) tickets(all []*Ticket[K, V]) []*Ticket[K, V] {
	for _, l := range g.lines {
		for e := l.tickets.Front(); e != nil; e = e.Next() {
			all = append(all, e.Value.(*Ticket[K, V]))
		}
	}
	return all
}

// line is the calls of one caller in one group, in the order of arrival.
type line[K comparable, V any] struct {
	share   *share[K, V]
	group   *group[K, V]
	tickets list.List
	index   int           // in group.lines
	turn    time.Duration // what the share had when its place in the heap was found, or less
	number  int64         // of the first ticket
}

func (l *line[K, V]) first() *Ticket[K, V] { return l.tickets.Front().Value.(*Ticket[K, V]) }

// changed finds the place of a line whose first ticket may have changed.
func (l *line[K, V]) changed() {
	l.number = l.first().number
	heap.Fix(&l.group.lines, l.index)
}

// lines is a heap.
type lines[K comparable, V any] []*line[K, V]

func (h lines[K, V]) Len() int { return len(h) }

func (h lines[K, V]) Less(i, j int) bool {
	a, b := h[i], h[j]
	return a.turn < b.turn || a.turn == b.turn && a.number < b.number
}

func (h lines[K, V]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push and Pop are for container/heap.
func (h *lines[K, V]) Push(l any) {
	l.(*line[K, V]).index = len(*h)
	*h = append(*h, l.(*line[K, V]))
}

func (h *lines[K, V]) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	return last
}
