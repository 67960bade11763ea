// Package workers runs functions on goroutines that are reused.
//
// It promises that a function never waits for another one to end, and that spare goroutines
// end when they are told to. What the functions do, and how they handle panics, is left to
// them.
//
// A call of this program needs more stack than a goroutine starts with. It passes three
// goroutines, and growing their stacks takes a twelfth of its processor time. The stack of a
// goroutine that is reused has grown already.
package workers

import "sync"

// Group runs functions. The zero Group starts a goroutine for each and keeps none. Its
// methods are safe for concurrent use, but Keep must be called before the others.
type Group struct {
	running sync.WaitGroup
	next    chan func()     // takes a function if a goroutine waits for one
	spare   chan struct{}   // holds a value for each goroutine that waits
	done    <-chan struct{} // closed when none should wait any more
}

// Keep has up to spare goroutines wait for later functions until done is closed. Each of them
// takes some five kilobytes of memory.
func (g *Group) Keep(spare int, done <-chan struct{}) {
	g.next, g.spare, g.done = make(chan func()), make(chan struct{}, spare), done
}

// Go runs f on a spare goroutine, or on a new one if there is none.
func (g *Group) Go(f func()) {
	select {
	case g.next <- f:
	default:
		g.running.Go(func() { g.run(f) })
	}
}

// Wait returns when all functions have returned and all spare goroutines have ended, for which
// done must be closed.
func (g *Group) Wait() { g.running.Wait() }

// run runs one function after another, and returns when enough goroutines wait.
func (g *Group) run(f func()) {
	for {
		f()
		select {
		case g.spare <- struct{}{}:
		default:
			return
		}
		select {
		case f = <-g.next:
			<-g.spare
		case <-g.done:
			return
		}
	}
}
