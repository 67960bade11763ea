package server

import "sync"

// gate lets work begin until it is closed, and tells when all of it has ended. The
// zero value is open.
type gate struct {
	// gateMu guards what follows; nothing blocks under it.
	gateMu sync.Mutex
	closed bool
	work   int           // pieces that have not ended
	idle   chan struct{} // made by close; closed when there is no more work
}

// enter begins a piece of work, unless the gate is closed; leave ends it.
func (g *gate) enter() bool {
	g.gateMu.Lock()
	defer g.gateMu.Unlock()
	if !g.closed {
		g.work++
	}
	return !g.closed
}

// join begins a piece of work as long as there is other work, even if the gate is
// closed; leave ends it.
func (g *gate) join() bool {
	g.gateMu.Lock()
	defer g.gateMu.Unlock()
	if g.work == 0 {
		return false
	}
	g.work++
	return true
}

func (g *gate) leave() {
	g.gateMu.Lock()
	defer g.gateMu.Unlock()
	if g.work--; g.closed && g.work == 0 {
		close(g.idle)
	}
}

// close lets no more work begin. The channel is closed when all of it has ended.
// It may be called once.
func (g *gate) close() (idle <-chan struct{}) {
	g.gateMu.Lock()
	defer g.gateMu.Unlock()
	g.closed, g.idle = true, make(chan struct{})
	if g.work == 0 {
		close(g.idle)
	}
	return g.idle
}
