package server

import (
	"encoding/json"
	"strings"
	"sync"

	"ollama-mcp/internal/jsonrpc"
)

// inflight holds the requests of a client that are still to be answered. The zero value is
// empty.
type inflight struct {
	// inflightMu guards what follows; nothing blocks under it.
	inflightMu sync.Mutex
	requests   map[string]*request // by id as sent
}

// register makes a request known, so that it can be cancelled, unless its id is taken.
func (f *inflight) register(r *request) bool {
	f.inflightMu.Lock()
	defer f.inflightMu.Unlock()
	if _, taken := f.requests[string(r.ID)]; taken {
		return false
	}
	if f.requests == nil {
		f.requests = make(map[string]*request)
	}
	f.requests[string(r.ID)] = r
	return true
}

// isInFlight reports whether a request with an id is to be answered.
func (f *inflight) isInFlight(id json.RawMessage) bool {
	f.inflightMu.Lock()
	defer f.inflightMu.Unlock()
	return f.requests[string(id)] != nil
}

// unregister forgets a request, and reports whether it is still to be answered.
func (f *inflight) unregister(r *request) bool {
	f.inflightMu.Lock()
	defer f.inflightMu.Unlock()
	if f.requests[string(r.ID)] != r {
		return false
	}
	delete(f.requests, string(r.ID))
	return true
}

// cancelRequest ends the request that a notification names. It is not answered, and its id is
// free at once. An unknown id is ignored: the request may just have been answered. Some
// clients send a number as a string, or the other way round, so an id that nothing has stands
// for the one that differs only in that.
func (f *inflight) cancelRequest(notification []byte) {
	var n struct {
		Params struct {
			RequestID json.RawMessage `json:"requestId"`
		}
	}
	if json.Unmarshal(notification, &n) != nil {
		return
	}
	id := string(n.Params.RequestID)
	f.inflightMu.Lock()
	r := f.requests[id]
	if r == nil {
		r = f.alike(id)
	}
	if r != nil {
		delete(f.requests, string(r.ID))
	}
	f.inflightMu.Unlock()
	if r != nil {
		r.cancel(errCancelled)
	}
}

// alike finds the only request whose id says the same as another, which nothing has; nil if
// there is none, or more than one. inflightMu is held.
func (f *inflight) alike(id string) (found *request) {
	for other, r := range f.requests {
		if plainID(other) != plainID(id) {
			continue
		}
		if found != nil {
			return nil
		}
		found = r
	}
	return found
}

// plainID is what an id says, whether it is a string, a number or a number with a point.
func plainID(id string) string {
	if text, ok := jsonrpc.Text([]byte(id)); ok {
		return text
	}
	return strings.TrimSuffix(id, ".0")
}

// endAll cancels all requests, which are still answered.
func (f *inflight) endAll(cause error) {
	f.inflightMu.Lock()
	defer f.inflightMu.Unlock()
	for _, r := range f.requests {
		r.cancel(cause)
	}
}

// gate counts work in progress until it is closed, and reports when all of it has ended. The
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
