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
)

// conn is a connection over which messages go both ways, and what is in flight on it.
type conn struct {
	server  *Server
	session *session

	// ctx is that of all requests. Its cause says why they had to end.
	ctx    context.Context
	cancel context.CancelCauseFunc

	gate     // for messages being taken, requests, and answers being written
	inflight // the requests to be answered

	workers sync.WaitGroup
	jobs    chan func()   // for a worker that has nothing to do
	spare   chan struct{} // holds one for each worker that waits for a job

	// mu guards what follows; nothing blocks under it.
	mu   sync.Mutex
	busy int // goroutines that handle a request or write a refusal

	// apart sees to it that what is written next is read apart from what was written
	// before. It is called by who writes.
	apart func()

	gone atomic.Bool   // nobody is left to read
	out  io.Writer     // given a message, as a line, with each Write
	turn chan struct{} // holds who writes a line to out: not a mutex, for the client may be long in reading it
}

// newConn makes a connection with the values of ctx, but not its end: that is for
// the one who serves it to act on. Of its workers, so many wait for more to do.
func newConn(ctx context.Context, s *Server, out io.Writer, spare int) *conn {
	c := &conn{
		server: s, session: newSession(),
		out: out, turn: make(chan struct{}, 1),
		jobs: make(chan func()), spare: make(chan struct{}, spare),
	}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.apart = func() { netserve.UntilRead(c.ctx, out) }
	return c
}

// hangUp cancels all requests: nobody is left to read their answers.
func (c *conn) hangUp(why error) {
	c.gone.Store(true)
	c.cancel(fmt.Errorf("%w: %w", ErrClientGone, why))
}

// spawn runs f beside the reading. Only one who has entered may call it.
func (c *conn) spawn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy++
	c.join()
	job := func() {
		defer c.leave()
		defer c.freed()
		f()
	}
	select {
	case c.jobs <- job:
	default:
		c.workers.Go(func() { c.labour(job) })
	}
}

// Handling a message takes more stack than a goroutine begins with: a worker that has
// grown it already saves a twentieth of the work, and keeps five kilobytes. There may
// be thousands of streams, but only one client of stdio.
const (
	spareOfStdio  = 64
	spareOfStream = 2
)

// labour does one job after another, as long as it is needed.
func (c *conn) labour(job func()) {
	for {
		job()
		select {
		case c.spare <- struct{}{}:
		default:
			return // enough of them wait
		}
		select {
		case job = <-c.jobs:
			<-c.spare
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *conn) freed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy--
}

// aside runs f, which takes no longer than its client takes to read an answer, without
// holding up the reading. If clients leave so many answers unread that f would be one
// goroutine too many, those who send more are held up until theirs is read.
func (c *conn) aside(f func()) {
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
	case time.Since(r.noted) < recent:
		c.writeAfter(c.apart, line)
	default:
		c.write(line)
	}
	c.server.answered(r, failed, 0)
}

// end lets go of a request that has been dealt with.
func (c *conn) end(r *request) {
	r.cancel(nil)
	c.server.buffers.Give(r.buffer)
	c.server.room.give(r.held)
}

// refuse answers a message that is not going to be handled.
func (c *conn) refuse(m incoming, reason Reason, e mcp.JSONRPCError) {
	c.aside(func() {
		c.write(encode(e))
		c.server.refused(c.ctx, refusalOf(m, reason, e.Error))
	})
}

// write sends one message. If it cannot, nobody is left to read what is in flight.
func (c *conn) write(message []byte) { c.writeAfter(func() {}, message) }

// writeAfter is as write, and does something first when it is the message's turn.
func (c *conn) writeAfter(first func(), message []byte) {
	line := append(message, '\n')
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	first()
	if c.gone.Load() {
		return
	}
	if _, err := c.out.Write(line); err != nil {
		c.hangUp(err)
	}
}

// encode writes an error of our own making.
func encode(e mcp.JSONRPCError) []byte {
	line, _ := json.Marshal(e) // cannot fail: its id came from valid JSON
	return line
}
