package server

import "sync"

// gate lets work begin until it is closed, and tells when all of it has ended.
type gate struct {
	// gateMu guards what follows; nothing blocks under it.
	gateMu sync.Mutex
	closed bool
	work   sync.WaitGroup
}

// enter begins a piece of work, unless the gate is closed; leave ends it.
func (g *gate) enter() bool {
	g.gateMu.Lock()
	defer g.gateMu.Unlock()
	if !g.closed {
		g.work.Add(1)
	}
	return !g.closed
}

// more begins another piece of work, for one who has entered.
func (g *gate) more() { g.work.Add(1) }

func (g *gate) leave() { g.work.Done() }

// close lets no more work begin. The channel is closed when all of it has ended.
func (g *gate) close() (idle <-chan struct{}) {
	g.gateMu.Lock()
	g.closed = true
	g.gateMu.Unlock()
	ended := make(chan struct{})
	go func() {
		g.work.Wait()
		close(ended)
	}()
	return ended
}
