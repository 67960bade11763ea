package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/netserve"
	"ollama-mcp/internal/workers"
)

// conn is a connection that carries messages both ways, and the requests in flight on it.
type conn struct {
	server  *Server
	session *session

	// ctx is that of all requests. Its cause says why they had to end.
	ctx    context.Context
	cancel context.CancelCauseFunc

	gate     // counts messages being handled, requests, and answers being written
	inflight // the requests to be answered

	workers workers.Group // handle requests

	// mu guards what follows; nothing blocks under it.
	mu   sync.Mutex
	busy int // goroutines that handle a request or write a refusal

	// separate keeps an answer out of the read in which the client gets a message that came before
	// an answer. The writer of the answer calls it, and has the turn.
	separate func()

	hasRoom func() bool // reports whether a short line can be written to out without waiting for the client
	polled  polled

	gone atomic.Bool // the client is gone
	out  io.Writer   // given a message, as a line, with each Write

	// turn is held while a line is written, and guards what follows. It is not a mutex, because a
	// slow client may block the write.
	turn   chan struct{}
	behind int64 // bytes written behind the last message that came before an answer
}

// newConn makes a connection with the values of ctx but not its end, on which the caller acts.
// Up to spare goroutines are kept for the next requests.
func newConn(ctx context.Context, s *Server, out io.Writer, spare int) *conn {
	c := &conn{server: s, session: newSession(), out: out, turn: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.workers.Keep(spare, c.ctx.Done())
	c.separate = func() { netserve.UntilRead(c.ctx, out, c.behind) }
	c.hasRoom = netserve.Room(out)
	return c
}

// hangUp cancels all requests, because the client is gone.
func (c *conn) hangUp(why error) {
	c.gone.Store(true)
	c.cancel(fmt.Errorf("%w: %w", ErrClientGone, why))
}

// spawn runs f on a worker. The caller must hold the gate.
func (c *conn) spawn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy++
	c.join()
	c.workers.Go(func() {
		defer c.leave()
		defer c.freed()
		f()
	})
}

// There may be thousands of streams, but only one client of stdio.
const (
	spareWorkersStdio  = 64
	spareWorkersStream = 2
)

func (c *conn) freed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
}

// background runs f, which blocks no longer than its client takes to read an answer, without
// blocking the reader. If too many of them wait for clients that do not read, f runs in the
// caller: a client that sends more then waits until its answers are read.
func (c *conn) background(f func()) {
	asides := &c.server.asides
	if asides.Add(1) > int64(c.server.opts.MaxInFlight) {
		asides.Add(-1)
		f()
		return
	}
	c.spawn(func() {
		defer asides.Add(-1)
		f()
	})
}

func (c *conn) running() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.busy
}

// serve handles a request, and answers it unless it was cancelled meanwhile.
func (c *conn) serve(r *request) {
	defer c.end(r)
	r.buffer = c.server.buffers.Take()
	line, failed := c.server.answer(r)
	switch {
	case !c.unregister(r):
		return
	case time.Since(r.lastSent) < recentlySent:
		c.writeAfter(c.separate, line)
	default:
		c.write(line)
	}
	c.server.answered(r, failed, 0)
}

// end releases what a request holds.
func (c *conn) end(r *request) {
	r.cancel(nil)
	c.server.buffers.Give(r.buffer)
	r.held.Give()
	r.sending.Give()
}

// refuse answers a message that is not handled.
func (c *conn) refuse(m incoming, reason Reason, e mcp.JSONRPCError) {
	c.background(func() {
		c.write(encode(e))
		c.server.refused(c.ctx, refusalOf(m, reason, e.Error))
	})
}

// write sends one message. A failed write means that the client is gone.
func (c *conn) write(message []byte) { c.writeAfter(func() {}, message) }

// writeAfter calls first, and then sends a message, with no other message in between.
func (c *conn) writeAfter(first func(), message []byte) {
	line := append(message, '\n')
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	first()
	c.put(line)
}

// writeBefore sends a message that comes before the answer to its request.
func (c *conn) writeBefore(message []byte) {
	line := append(message, '\n')
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.put(line)
	c.behind = 0
}

// put writes a line. The caller has the turn.
func (c *conn) put(line []byte) {
	if c.gone.Load() {
		return
	}
	c.behind += int64(len(line))
	if _, err := c.out.Write(line); err != nil {
		c.hangUp(err)
	}
}

// encode marshals an error response of our own.
func encode(e mcp.JSONRPCError) []byte {
	line, _ := json.Marshal(e) // cannot fail: its id came from valid JSON
	return line
}
