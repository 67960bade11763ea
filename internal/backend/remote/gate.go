package remote

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"sync"

	"ollama-mcp/internal/rawio"
)

// gate bounds the connections that are open at once. Unlike that of http.Transport, its bound can
// change. A request that finds a connection still being dialled, or one not put back yet, waits at the
// gate instead of opening another, and leaves with the first connection that it gets.
type gate struct {
	mu      sync.Mutex // guards the fields below
	most    int
	open    int
	changed chan struct{} // closed when a connection has been closed, or most has changed
}

func newGate(most int) *gate { return &gate{most: most, changed: make(chan struct{})} }

// resize changes the bound, and reports whether more connections are open. They stay as they are.
func (g *gate) resize(most int) (over bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most = most
	g.tell()
	return g.open > most
}

// tell wakes all that wait. It is called with mu held.
func (g *gate) tell() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// enter waits until there may be another connection.
func (g *gate) enter(ctx context.Context, served <-chan struct{}) error {
	for {
		g.mu.Lock()
		if g.open < g.most {
			g.open++
			g.mu.Unlock()
			return nil
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-served:
			return errServed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	g.tell()
}

// errServed ends the dialling for a request that has got another connection meanwhile. Nobody sees it.
var errServed = errors.New("another connection has become free")

// bound returns a dial function that passes the gate first.
func (g *gate) bound(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if err := g.enter(ctx, servedOf(ctx)); err != nil {
			return nil, err
		}
		conn, err := dial(ctx, network, addr)
		if err != nil {
			g.leave()
			return nil, err
		}
		return &gatedConn{Conn: conn, raw: rawio.Of(conn), leave: sync.OnceFunc(g.leave)}, nil
	}
}

// gatedConn leaves the gate when it is closed.
type gatedConn struct {
	net.Conn
	raw   io.ReadWriter // the same connection
	leave func()
}

func (c *gatedConn) Read(p []byte) (int, error)  { return c.raw.Read(p) }
func (c *gatedConn) Write(p []byte) (int, error) { return c.raw.Write(p) }

func (c *gatedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// waiting is a request that may wait for a connection. http.Transport goes on dialling for one that
// has got another connection, and cannot be told to stop.
type waiting struct {
	mu     sync.Mutex
	served chan struct{} // closed when the request needs no connection any more; nil before it needs one
}

type waitingKey struct{}

// wait returns a context for a request that passes the gate, and a function for when it is over.
func wait(ctx context.Context) (_ context.Context, done func()) {
	w := new(waiting)
	ctx = httptrace.WithClientTrace(context.WithValue(ctx, waitingKey{}, w), &httptrace.ClientTrace{
		GetConn: func(string) { w.next() }, // again if the connection turns out to be dead
		GotConn: func(httptrace.GotConnInfo) { w.done() },
	})
	return ctx, w.done
}

func (w *waiting) next() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.served = make(chan struct{})
}

func (w *waiting) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.served != nil {
		close(w.served)
		w.served = nil
	}
}

// servedOf returns a channel that is closed when the request of a context needs no connection any more.
func servedOf(ctx context.Context) <-chan struct{} {
	w, ok := ctx.Value(waitingKey{}).(*waiting)
	if !ok {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.served == nil {
		over := make(chan struct{})
		close(over)
		return over
	}
	return w.served
}
