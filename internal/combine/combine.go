// Package combine makes one request of those that come while another is under way.
//
// It promises that of a group one request at a time is under way, that each value is part of
// exactly one, and that no value waits for more than the request that was under way when it came
// and its own. What a request is, is left to the caller.
package combine

import "sync"

// Group combines values. The zero Group is ready. It must not be copied.
type Group[T any] struct {
	mu   sync.Mutex // guards what follows
	busy bool       // a request is under way
	next []*turn[T] // the values of the next request
}

// turn is a value that waits. Its channel says whether its goroutine makes the next request.
type turn[T any] struct {
	value T
	leads chan bool
}

// Do has ask make a request for v, and for all values that came with it, and returns when that is
// done. The ask of one of these calls is used for all of them.
func (g *Group[T]) Do(v T, ask func(all []T)) {
	own := &turn[T]{v, make(chan bool, 1)}
	g.mu.Lock()
	g.next = append(g.next, own)
	if g.busy {
		g.mu.Unlock()
		if !<-own.leads {
			return
		}
		g.mu.Lock()
	}
	g.busy = true
	turns := g.next
	g.next = nil
	g.mu.Unlock()
	all := make([]T, len(turns))
	for i, other := range turns {
		all[i] = other.value
	}
	ask(all)
	for _, other := range turns {
		if other != own {
			other.leads <- false
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy = len(g.next) > 0; g.busy {
		g.next[0].leads <- true
	}
}
