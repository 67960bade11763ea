package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/mark3labs/mcp-go/mcp"
)

// conn is a connection whose messages are lines, and what is in flight on it.
type conn struct {
	server  *Server
	session *session

	// ctx is that of all requests. Its cause says why they had to end.
	ctx    context.Context
	cancel context.CancelCauseFunc

	// work counts messages being taken, requests, and answers being written.
	work sync.WaitGroup

	workers sync.WaitGroup
	jobs    chan func()   // for a worker that has nothing to do
	spare   chan struct{} // holds one for each worker that waits for a job

	// mu guards what follows; nothing blocks under it.
	mu       sync.Mutex
	closed   bool                // no more messages are taken
	requests map[string]*request // those to be answered, by id as sent
	busy     int                 // goroutines that handle a request or write a refusal

	gone atomic.Bool // nobody is left to read
	out  io.Writer
	turn chan struct{} // holds who writes a line to out: not a mutex, for the client may be long in reading it
}

// newConn makes a connection with the values of ctx, but not its end: that is for
// the one who serves it to act on.
func newConn(ctx context.Context, s *Server, out io.Writer) *conn {
	c := &conn{
		server: s, session: newSession(), requests: make(map[string]*request),
		out: out, turn: make(chan struct{}, 1),
		jobs: make(chan func()), spare: make(chan struct{}, spareWorkers),
	}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return c
}

// hangUp cancels all requests: nobody is left to read their answers.
func (c *conn) hangUp(why error) {
	c.gone.Store(true)
	c.cancel(fmt.Errorf("%w: %w", ErrClientGone, why))
}

// enter begins to take a message, unless the connection is closed; leave ends it.
func (c *conn) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.work.Add(1)
	}
	return !c.closed
}

func (c *conn) leave() { c.work.Done() }

// close has no more messages taken. The channel is closed when all work has ended.
func (c *conn) close() (idle <-chan struct{}) {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		c.work.Wait()
		close(ended)
	}()
	return ended
}

// spawn runs f beside the reading, unless limit of its kind are busy already.
// Only one who has entered may call it.
func (c *conn) spawn(limit int, f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy >= limit {
		return false
	}
	c.busy++
	c.work.Add(1)
	job := func() {
		defer c.work.Done()
		defer c.freed()
		f()
	}
	select {
	case c.jobs <- job:
	default:
		c.workers.Go(func() { c.labour(job) })
	}
	return true
}

// spareWorkers is how many workers wait for more to do. Handling a message takes
// more stack than a goroutine begins with: one that has grown it already saves a
// twentieth of the work.
const spareWorkers = 64

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

// aside runs f, which is quick, without holding up the reading. Only if the client
// leaves so many answers unread that it should be held up does it wait for f.
func (c *conn) aside(f func()) {
	if !c.spawn(2*c.server.opts.MaxInFlight, f) {
		f()
	}
}

func (c *conn) running() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.busy
}

func (c *conn) newRequest(id json.RawMessage, method string, line []byte) *request {
	r := &request{session: c.session, conn: c, id: id, method: method, line: line}
	r.ctx, r.cancel = context.WithCancelCause(c.ctx)
	return r
}

// register makes a request known, so that it can be cancelled, unless its id is taken.
func (c *conn) register(r *request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.requests[string(r.id)]; taken {
		return false
	}
	c.requests[string(r.id)] = r
	return true
}

// unregister forgets a request, and reports whether it is still to be answered.
func (c *conn) unregister(r *request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests[string(r.id)] != r {
		return false
	}
	delete(c.requests, string(r.id))
	return true
}

// cancelRequest ends the request that a notification names. It will not be answered,
// and its id is free at once. One that is not in flight may just have been answered.
func (c *conn) cancelRequest(notification []byte) {
	var n struct {
		Params struct {
			RequestID json.RawMessage `json:"requestId"`
		}
	}
	if json.Unmarshal(notification, &n) != nil {
		return
	}
	c.mu.Lock()
	r := c.requests[string(n.Params.RequestID)]
	delete(c.requests, string(n.Params.RequestID))
	c.mu.Unlock()
	if r != nil {
		r.cancel(errCancelled)
	}
}

// serve handles a request, and answers it unless it was cancelled meanwhile.
func (c *conn) serve(r *request) {
	defer r.cancel(nil)
	line := c.server.answer(r)
	r.endNotes()
	if c.unregister(r) {
		c.write(line)
	}
}

// notify sends a notification that belongs to a request.
func (c *conn) notify(r *request, note mcp.JSONRPCNotification) {
	if errors.Is(context.Cause(r.ctx), errCancelled) {
		return
	}
	line, err := json.Marshal(note)
	if err != nil {
		c.server.opts.Log.Error("notification cannot be written as JSON", "method", note.Method, "error", err)
		return
	}
	c.write(line)
}

// refuse answers a message that is not going to be handled.
func (c *conn) refuse(e mcp.JSONRPCError) {
	c.aside(func() { c.write(encode(e)) })
}

// write sends one message. If it cannot, nobody is left to read what is in flight.
func (c *conn) write(message []byte) {
	line := append(message, '\n')
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
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
