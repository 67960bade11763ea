package server

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
)

// streams are the clients of HTTP with SSE, by the ids of their sessions.
type streams struct {
	// mu guards what follows; nothing blocks under it.
	mu   sync.Mutex
	byID map[string]stream
}

// stream is a connection, and who opened it: nobody else can name it.
type stream struct {
	*conn
	owner caller.Caller
}

// add makes a stream known, unless there are too many. No caller gets more than a
// quarter of them, so that there are some for others.
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
	return c, ok && mayContinue(c.owner, owner)
}

func (s *streams) remove(c stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, c.session.sessionID)
}

// openStream serves GET /sse, of the protocol as it was until 2025: a stream over
// which the client gets all that it is sent, beginning with where to send its own
// messages. It is a connection as that over stdio is, and ends when its client does.
func (h *HTTP) openStream(w http.ResponseWriter, req *http.Request, from caller.Caller) {
	if req.Method != http.MethodGet { // HEAD, which goes where GET does
		w.Header().Set("Allow", http.MethodGet)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if h.refuseLate(w, nil) {
		return
	}
	out := newEvents(w, false)
	defer out.end()
	legacy := mcpserver.WithSupportedProtocolVersions(h.life, mcp.LegacyProtocolVersions())
	c := stream{newConn(legacy, h.server, eventWriter{out}, spareOfStream), from}
	c.apart = func() { out.put(padding) }
	out.start(c.hangUp)
	if !h.streams.add(c, h.opts.MaxSessions) {
		http.Error(w, "there are too many streams; try again later", http.StatusServiceUnavailable)
		return
	}
	defer h.streams.remove(c)
	unwatch := context.AfterFunc(req.Context(), func() { c.hangUp(context.Cause(req.Context())) })
	defer unwatch()

	out.put(event("endpoint", []byte("/message?sessionId="+c.session.sessionID)))
	select {
	case <-c.ctx.Done():
	case <-h.stopping.Done():
	}
	if left := c.finish(h.stopping); left > 0 {
		h.server.opts.Log.Error("requests did not end when cancelled", "requests", left)
	}
}

// eventWriter sends each line written to it as an event.
type eventWriter struct{ events *events }

// Write never fails: the stream itself tells when it has.
func (w eventWriter) Write(line []byte) (int, error) {
	w.events.message(bytes.TrimSuffix(line, []byte("\n")))
	return len(line), nil
}

// streamMessage serves POST /message: a message from the client of a stream, over
// which it is answered.
func (h *HTTP) streamMessage(w http.ResponseWriter, req *http.Request, from caller.Caller) {
	c, ok := h.streams.get(req.URL.Query().Get("sessionId"), from)
	if !ok {
		if !h.refuseLate(w, nil) {
			http.Error(w, "there is no such session: begin with GET /sse", http.StatusNotFound)
		}
		return
	}
	m, ok := h.receive(w, req, from)
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
		defer h.server.room.give(m.held)
		c.takeLate(m)
	default:
		h.server.room.give(m.held)
		if !h.refuseLate(w, m.id) {
			http.Error(w, "the stream has ended", http.StatusNotFound)
		}
		return
	}
	extend(http.NewResponseController(w))
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprintln(w, "accepted")
}
