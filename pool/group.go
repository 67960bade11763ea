package pool

import (
	"container/heap"
	"container/list"
	"time"
)

// groupKey is what makes calls alike to every host.
type groupKey struct {
	model modelKey
	host  string // the only one that may serve them; "" for any
	tried string // names of those that have failed or did not answer, each ending in a NUL

	suspect bool // models may crash because of them; see crashes
}

// allows reports whether a host is one of those that may serve the calls.
func (k groupKey) allows(h *host) bool { return k.host == "" || k.host == h.name }

// group is calls that the same hosts can serve equally well: the lines of their
// callers, the one with the least share first.
type group struct {
	key   groupKey
	since time.Time // when it was last empty
	lines lines
	index int // in class.groups
}

// first is the call whose turn comes first. Shares grow without the heaps being
// told, or each call would move its caller in all groups; so whoever has come to the front
// is looked at again.
func (g *group) first() *ticket {
	front := g.lines[0]
	for front.turn < front.share.used {
		front.turn = front.share.used
		heap.Fix(&g.lines, 0)
		front = g.lines[0]
	}
	return front.first()
}

// tickets appends the calls of a group.
func (g *group) tickets(all []*ticket) []*ticket {
	for _, l := range g.lines {
		for e := l.tickets.Front(); e != nil; e = e.Next() {
			all = append(all, e.Value.(*ticket))
		}
	}
	return all
}

// line is the calls of one caller in one group, in the order of arrival.
type line struct {
	share   *share
	group   *group
	tickets list.List
	index   int           // in group.lines
	turn    time.Duration // what the share had when its place in the heap was found, or less
	number  int64         // of the first ticket
}

func (l *line) first() *ticket { return l.tickets.Front().Value.(*ticket) }

// changed finds the place of a line whose first ticket may have changed.
func (l *line) changed() {
	l.number = l.first().number
	heap.Fix(&l.group.lines, l.index)
}

// lines is a heap.
type lines []*line

func (h lines) Len() int { return len(h) }

func (h lines) Less(i, j int) bool {
	a, b := h[i], h[j]
	return a.turn < b.turn || a.turn == b.turn && a.number < b.number
}

func (h lines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push and Pop are for container/heap.
func (h *lines) Push(l any) {
	l.(*line).index = len(*h)
	*h = append(*h, l.(*line))
}

func (h *lines) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	return last
}
