package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/caller"
)

// post serves POST /mcp: one message from a client of either era.
func (h *HTTP) post(w http.ResponseWriter, req *http.Request, from caller.Caller) {
	m, ok := h.receive(w, req, from)
	if !ok {
		return
	}
	defer h.server.room.give(m.held)
	if m.kind == kindRequest { // and not what ends one, or lets it go on
		if h.refuseLate(w, m.id) {
			return
		}
		if over := h.server.requests.check(m); over != nil { // before the message is decoded
			refuseOver(w, over)
			return
		}
	}
	m.split()
	p, err := readParams(m.brief)
	inHeader := req.Header.Get(headerVersion)
	switch {
	case err != nil || m.kind == kindMalformed:
		refuse(w, http.StatusBadRequest, malformed(m))
	case isModern(inHeader) || isModern(p.version):
		h.postModern(w, req, m, p)
	case m.kind == kindRequest && m.method == "initialize":
		h.introduce(w, req, m, p)
	case inHeader != "" && !mcp.IsValidProtocolVersion(inHeader):
		refuse(w, http.StatusBadRequest, rpcError(m.id, mcp.INVALID_REQUEST,
			fmt.Sprintf("protocol version %.64q is not supported; these are: %s", inHeader, strings.Join(mcp.ValidProtocolVersions, ", ")), nil))
	default:
		h.postLegacy(w, req, m)
	}
}

// postModern takes a message of the protocol since 2026-07-28, which knows no sessions.
func (h *HTTP) postModern(w http.ResponseWriter, req *http.Request, m incoming, p params) {
	switch m.kind {
	case kindNotification: // also a cancel, though it is for closing the stream to cancel
		w.WriteHeader(http.StatusAccepted)
		return
	case kindReply:
		refuse(w, http.StatusBadRequest, malformed(m))
		return
	}
	if e := h.server.checkModern(req.Header, m, p); e != nil {
		refuse(w, http.StatusBadRequest, *e)
		return
	}
	m.from = withClient(m.from, p.client)
	r, out, end, ok := h.begin(w, req, newSession(), m)
	if !ok {
		return
	}
	defer end()
	line, code := h.server.answer(r)
	out.answer(modernStatus(code), line)
}

// introduce serves initialize, with which a client of the protocol before
// 2026-07-28 begins a session.
func (h *HTTP) introduce(w http.ResponseWriter, req *http.Request, m incoming, p params) {
	c := &client{session: newSession(), owner: m.from}
	m.from = withClient(m.from, p.client)
	r, out, end, ok := h.begin(w, req, c.session, m)
	if !ok {
		return
	}
	defer end()
	line, code := h.server.answer(r)
	switch {
	case code != 0:
		out.answer(http.StatusOK, line)
	case !h.sessions.add(c):
		out.answer(http.StatusServiceUnavailable, encode(rpcError(m.id, codeOverloaded,
			"there are too many sessions with requests in flight; try again later", retry("overloaded", true))))
	default:
		w.Header().Set(headerSession, c.session.sessionID)
		out.answer(http.StatusOK, line)
	}
}

// postLegacy takes a message of a session.
func (h *HTTP) postLegacy(w http.ResponseWriter, req *http.Request, m incoming) {
	id := req.Header.Get(headerSession)
	if id == "" {
		refuse(w, http.StatusBadRequest, rpcError(m.id, mcp.INVALID_REQUEST,
			"the header "+headerSession+" is missing: begin with initialize, or with protocol version 2026-07-28", nil))
		return
	}
	c, ok := h.sessions.hold(id, m.from)
	if !ok {
		// As text: an error of JSON-RPC would make the SDK for Go go on with the session.
		http.Error(w, "there is no such session: begin with initialize", http.StatusNotFound)
		return
	}
	defer h.sessions.release(c)
	m.from = withClient(m.from, c.session.GetClientInfo().Name)
	if m.kind == kindRequest {
		h.serveLegacy(w, req, c, m)
		return
	}
	switch {
	case m.kind == kindReply:
		c.session.questions.take(m)
	case m.method == cancelled:
		c.cancelRequest(m.line)
	}
	w.WriteHeader(http.StatusAccepted)
}

func (h *HTTP) serveLegacy(w http.ResponseWriter, req *http.Request, c *client, m incoming) {
	r, out, end, ok := h.begin(w, req, c.session, m)
	if !ok {
		return
	}
	defer end()
	if !c.register(r) {
		out.answer(http.StatusOK, encode(idInUse(m.id)))
		return
	}
	line, _ := h.server.answer(r)
	if !c.unregister(r) {
		out.nothing()
		return
	}
	out.answer(http.StatusOK, line)
}

// begin makes a request of a message, or refuses it if too many are in flight. It ends
// with the server's life, or when its client is gone; what it sends goes to its response
// and to no other.
func (h *HTTP) begin(w http.ResponseWriter, req *http.Request, client *session, m incoming) (r *request, out *events, end func(), ok bool) {
	if over := h.server.requests.begin(m); over != nil {
		refuseOver(w, over)
		return nil, nil, nil, false
	}
	// The id of a session belongs in the head of the answer, which a stream would have sent.
	out = newEvents(w, m.method == string(mcp.MethodInitialize) || !takesEvents(req.Header))
	out.conn = gathering(req)
	r = h.server.newRequest(h.life, client, m, out.message)
	r.onlyAnswer = out.plain
	if req.ProtoMajor == 1 { // HTTP/2 may still be reading an answer when Write has returned
		r.buffer = h.server.buffers.take()
	}
	gone := func(err error) { r.cancel(fmt.Errorf("%w: %w", ErrClientGone, err)) }
	out.start(gone)
	unwatch := context.AfterFunc(req.Context(), func() { gone(context.Cause(req.Context())) })
	return r, out, func() {
		unwatch()
		r.cancel(nil)
		h.server.buffers.give(r.buffer)
		h.server.requests.end(m)
	}, true
}

func refuseOver(w http.ResponseWriter, over *overLimit) {
	w.Header().Set("Retry-After", "1")
	refuse(w, over.status(), over.refusal())
}

// takesEvents reports whether a client takes a stream of events for an answer.
func takesEvents(header http.Header) bool {
	accept := strings.ToLower(strings.Join(header.Values("Accept"), ","))
	return accept == "" || strings.Contains(accept, "text/event-stream") ||
		strings.Contains(accept, "text/*") || strings.Contains(accept, "*/*")
}

// refuse answers a message that is not going to be handled.
func refuse(w http.ResponseWriter, status int, e mcp.JSONRPCError) {
	body := encode(e)
	beginJSON(w, status, len(body))
	_, _ = w.Write(body) // if it cannot, nobody is left to be told
}
