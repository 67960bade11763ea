package server

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
)

// streams are the clients of HTTP with SSE, by the ids of their sessions.
type streams struct {
	// mu guards what follows; nothing blocks under it.
	mu   sync.Mutex
	byID map[string]stream
}

// stream is a connection, and the caller who opened it and alone may use it.
type stream struct {
	*conn
	owner caller.Caller
}

// add adds a stream, unless there are too many. No caller gets more than a quarter of them, so
// that some are left for others.
func (s *streams) add(c stream, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byID) >= most || s.of(c.owner) >= max(most/4, 1) {
		return false
	}
	if s.byID == nil {
		s.byID = make(map[string]stream)
	}
	s.byID[c.session.sessionID] = c
	return true
}

// of counts the streams of a caller. mu is held.
func (s *streams) of(owner caller.Caller) (n int) {
	for _, c := range s.byID {
		if c.owner.ID == owner.ID {
			n++
		}
	}
	return n
}

func (s *streams) get(id string, owner caller.Caller) (c stream, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok = s.byID[id]
	return c, ok && sameOwner(c.owner, owner)
}

func (s *streams) remove(c stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, c.session.sessionID)
}

// openStream serves GET /sse, of the protocol until 2025: a stream with everything that the
// client is sent. Its first event says where the client posts its messages. It works like a
// connection over stdio, and ends when its client leaves.
func (x *exchange) openStream() {
	if x.refuseStopping(incoming{}) {
		return
	}
	out := newEvents(x.w, false)
	defer out.end()
	legacy := mcpserver.WithSupportedProtocolVersions(x.life, legacyRevisions())
	c := stream{newConn(legacy, x.server, eventWriter{out}, spareWorkersStream), x.from}
	c.session.Initialize() // a client that opens its stream again does not say initialize again
	c.separate = func() { out.put(padding) }
	out.start(c.hangUp)
	if !x.streams.add(c, x.opts.MaxStreams) {
		x.refuseRequest(ReasonSessions, http.StatusServiceUnavailable, "there are too many streams; try again later")
		return
	}
	defer x.streams.remove(c)
	unwatch := context.AfterFunc(x.req.Context(), func() { c.hangUp(context.Cause(x.req.Context())) }) // also if its caller is revoked
	defer unwatch()
	defer x.endWhenExpired(func() { c.hangUp(caller.ErrRevoked) })()

	// Relative, since a proxy may serve us below a path that only the client knows.
	endpoint := "message?sessionId=" + c.session.sessionID
	if strings.HasSuffix(x.req.URL.Path, "/") {
		endpoint = "../" + endpoint
	}
	out.put(append([]byte(reopenAfter), event("endpoint", []byte(endpoint))...))
	select {
	case <-c.ctx.Done():
	case <-x.stopping.Done():
	}
	if left := c.finish(x.stopping); left > 0 {
		x.server.opts.Log.Error("requests did not end when cancelled", "requests", left)
	}
}

// reopenAfter tells clients how soon to open a stream again that they have lost, in milliseconds:
// they would wait three seconds otherwise, in which all calls fail.
const reopenAfter = "retry: 500\n"

// eventWriter sends each line written to it as an event.
type eventWriter struct{ events *events }

// Write never fails: the stream itself tells when it has.
func (w eventWriter) Write(line []byte) (int, error) {
	w.events.message(bytes.TrimSuffix(line, []byte("\n")))
	return len(line), nil
}

// streamMessage serves POST /message: a message from the client of a stream, over
// which it is answered.
func (x *exchange) streamMessage() {
	c, ok := x.streams.get(x.req.URL.Query().Get("sessionId"), x.from)
	if !ok {
		if !x.refuseStopping(incoming{}) {
			x.refuseRequest(ReasonSession, http.StatusNotFound, "there is no such session: begin with GET /sse")
		}
		return
	}
	m, ok := x.receive()
	if !ok {
		return
	}
	m.from = withClient(m.from, c.session.GetClientInfo().Name)
	switch {
	case c.enter():
		defer c.leave()
		c.take(m)
	case c.join():
		defer c.leave()
		defer m.held.Give()
		c.handleDraining(m)
	default:
		m.held.Give()
		if !x.refuseStopping(m) {
			x.refuseRequest(ReasonSession, http.StatusNotFound, "the stream has ended")
		}
		return
	}
	extend(http.NewResponseController(x.w))
	x.w.WriteHeader(http.StatusAccepted)
	fmt.Fprintln(x.w, "accepted")
}
