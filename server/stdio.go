package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/jsonrpc"
	"ollama-mcp/internal/netserve"
)

// cancelGrace is how long cancelled requests may take to end and be answered.
const cancelGrace = 2 * time.Second

// ServeStdio serves one client, with a JSON-RPC message on each line of in and out,
// until the client is done or ctx ends.
//
// The client is done when in ends, and all that it asked has been answered. Where
// out is a file, the client is also done, and its requests are cancelled, as soon as
// nobody is left to read it; elsewhere that shows at the next write. When ctx ends no
// more requests are taken; those in flight get Options.Drain to end or to be cancelled
// by the client, and are then cancelled.
//
// It returns nil if the client was done in good order or ctx ended, ErrClientGone if
// nobody was left to read, and another error if reading failed. A client that leaves
// altogether may be seen in either way.
//
// All that ServeStdio started has ended when it returns, but for two things that only
// the end of the process helps: a Read that nothing can wake, as is mostly true of
// standard input, and requests that have not ended two seconds after they were
// cancelled, which is an error. A Read that can be woken is: by a deadline, or by
// closing in.
func (s *Server) ServeStdio(ctx context.Context, in io.Reader, out io.Writer) error {
	c := newConn(ctx, s, out, spareWorkersStdio)
	stopWatch := netserve.WatchHangup(out, func() { c.hangUp(errors.New("its end of our output is closed")) })
	defer stopWatch()

	read := make(chan error, 1)
	go func() { read <- c.read(in) }()
	var err error
	reading := true
	select {
	case err = <-read:
		reading = false
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	defer s.awaitTold()
	if left := c.finish(ctx); left > 0 {
		return fmt.Errorf("server: %d requests did not end when cancelled", left)
	}
	if reading && wake(in) {
		<-read
	}
	if cause := context.Cause(c.ctx); errors.Is(cause, ErrClientGone) {
		return fmt.Errorf("server: %w", cause)
	}
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return nil
}

// finish takes no more messages and waits for the requests in flight: until they have ended,
// or for Options.Drain once ctx ends, or until the client leaves. It returns how many had not
// ended cancelGrace after they were cancelled.
func (c *conn) finish(ctx context.Context) (left int) {
	idle := c.close()
	select {
	case <-idle:
	case <-c.ctx.Done():
	case <-ctx.Done():
		drain, stop := context.WithTimeout(c.ctx, c.server.opts.Drain)
		defer stop()
		select {
		case <-idle:
		case <-drain.Done():
		}
	}
	c.cancel(errStopping)
	late := time.NewTimer(cancelGrace)
	defer late.Stop()
	select {
	case <-idle:
		c.workers.Wait() // idle workers end with the context
		return 0
	case <-late.C:
		return max(1, c.running())
	}
}

// wake unblocks a Read that waits in r, and reports whether it can. A file without deadlines,
// as standard input usually is, cannot be unblocked, and closing it would not help.
func wake(r io.Reader) bool {
	switch r := r.(type) {
	case interface{ SetReadDeadline(t time.Time) error }:
		return r.SetReadDeadline(time.Unix(1, 0)) == nil
	case io.Closer:
		return r.Close() == nil
	}
	return false
}

// read takes messages until in ends.
func (c *conn) read(in io.Reader) error {
	defer c.session.questions.endAll()
	lines := jsonrpc.NewLineReader(in, c.server.opts.MaxMessage)
	var e jsonrpc.Envelope
	for {
		if !lines.Ready() {
			c.sendPolls()
		}
		line, err := lines.Next(&e)
		if err != nil && !errors.Is(err, jsonrpc.ErrTooLong) {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read: %w", err)
		}
		m := incoming{Message: e.Message(line)}
		m.began, m.from, m.transport = time.Now(), caller.Caller{Admin: true}, overStdio // the user who started the program
		switch {
		case !c.enter():
			if !c.join() {
				return nil
			}
			c.handleDraining(m)
		case err != nil:
			c.refuseLong(m, &e)
		case m.Kind != jsonrpc.KindRequest: // dealt with before the next one is read
			c.take(m)
		case c.poll(&m):
		default:
			memory := c.server.limits.messages.Part(m.from.ID)
			over := overMessages(m.ID, memory.Take(int64(len(line))))
			if over == nil {
				over = c.server.limits.decode(m, memory)
			}
			if over != nil {
				memory.Give()
				c.refuse(m, over.reason, over.answer)
				break
			}
			m.held = memory
			c.take(m)
		}
		c.leave()
	}
}

// handleDraining handles a message that came after the server began to stop: requests in
// flight can still be cancelled, and get replies.
func (c *conn) handleDraining(m incoming) {
	switch {
	case m.Method == cancelled && m.Kind == jsonrpc.KindNotification:
		c.cancelRequest(m.Line)
	case m.Kind == jsonrpc.KindReply:
		c.session.questions.take(m)
	case m.Kind == jsonrpc.KindRequest:
		c.refuse(m, ReasonStopping, stopping(m.ID))
	}
}

// take handles one message. It blocks only if the client has left very many answers unread.
func (c *conn) take(m incoming) {
	if m.Kind == jsonrpc.KindRequest {
		c.start(c.server.newRequest(c.ctx, c.session, m, c.writeBefore))
		return
	}
	defer m.held.Give()
	switch m.Kind {
	case jsonrpc.KindNothing:
	case jsonrpc.KindNotification:
		if m.Method == cancelled {
			c.cancelRequest(m.Line)
		}
	case jsonrpc.KindReply:
		if !c.session.questions.take(m) {
			c.server.opts.Log.Debug("dropped a reply to a question that is not open")
		}
	default:
		c.refuse(m, ReasonMalformed, malformed(m))
	}
}

// start begins to handle a request, or refuses it. If its id is in use it is refused under
// that id, since the client could not tell the two answers apart.
func (c *conn) start(r *request) {
	if !c.register(r) {
		c.refuseRequest(r, ReasonIDInUse, idInUse(r.ID))
		return
	}
	if over := c.server.limits.begin(r.incoming); over != nil {
		c.unregister(r)
		c.refuseRequest(r, over.reason, over.answer)
		return
	}
	serve := func() {
		defer c.server.limits.end(r.incoming)
		c.serve(r)
	}
	switch r.Method {
	case "initialize":
		serve() // here, since what comes next may build on it
	case "ping":
		c.background(serve) // however much is in flight: it asks if we are alive
	default:
		c.spawn(serve)
	}
}

// refuseRequest answers a request that is not handled, or says that it is malformed: until
// here only its top level has been looked at.
func (c *conn) refuseRequest(r *request, reason Reason, e mcp.JSONRPCError) {
	defer c.end(r)
	if !json.Valid(r.Line) {
		reason, e = ReasonMalformed, malformed(r.incoming)
	}
	c.refuse(r.incoming, reason, e)
}

// refuseLong answers a message that was too long to be kept, unless it is a notification.
func (c *conn) refuseLong(m incoming, e *jsonrpc.Envelope) {
	_, hasMethod := e.MethodName()
	if e.IsObject && hasMethod && !e.HasID() {
		c.server.opts.Log.Warn("dropped a notification that was too long")
		c.server.refused(c.ctx, refusalOf(m, ReasonTooLarge, mcp.JSONRPCErrorDetails{}))
		return
	}
	id, _ := e.RequestID()
	if e.IsReply && !hasMethod && c.session.questions.fail(id, errReplyTooLong) {
		return
	}
	m.ID = id
	c.refuse(m, ReasonTooLarge, tooLong(id, c.server.opts.MaxMessage, "this server takes"))
}
