package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/jsonrpc"
	"ollama-mcp/internal/netserve"
	"ollama-mcp/internal/share"
)

// post serves POST /mcp: one message from a client of either era.
func (x *exchange) post() {
	m, ok := x.receive()
	if !ok {
		return
	}
	defer m.held.Give()
	if m.Kind == jsonrpc.KindRequest { // and not what ends one, or lets it go on
		if x.refuseStopping(m) {
			return
		}
		if over := x.server.limits.check(m); over != nil { // before the message is decoded
			x.refuseOver(m, over)
			return
		}
	}
	if x.poll(m) {
		return
	}
	m.split()
	p, err := readParams(m.brief)
	inHeader := x.req.Header.Get(headerVersion)
	switch {
	case err != nil || m.Kind == jsonrpc.KindMalformed || m.Doubtful:
		x.refuse(m, ReasonMalformed, http.StatusBadRequest, malformed(m))
	case isModern(inHeader) || isModern(p.version):
		x.postModern(m, p)
	case m.Kind == jsonrpc.KindRequest && m.Method == "initialize":
		x.initialize(m, p)
	case inHeader != "" && !mcp.IsValidProtocolVersion(inHeader):
		x.refuse(m, ReasonProtocol, http.StatusBadRequest, rpcError(m.ID, mcp.INVALID_REQUEST,
			fmt.Sprintf("protocol version %.64q is not supported; these are: %s", inHeader, strings.Join(revisions, ", ")), nil))
	default:
		x.postLegacy(m)
	}
}

// postModern handles a message of the protocol since 2026-07-28, which has no sessions.
func (x *exchange) postModern(m incoming, p params) {
	switch m.Kind {
	case jsonrpc.KindNotification: // cancels too: on this transport a client cancels by closing the stream
		x.w.WriteHeader(http.StatusAccepted)
		return
	case jsonrpc.KindReply:
		x.refuse(m, ReasonMalformed, http.StatusBadRequest, malformed(m))
		return
	}
	if e := x.server.checkModern(x.req.Header, m, p); e != nil {
		x.refuse(m, ReasonProtocol, http.StatusBadRequest, *e)
		return
	}
	m.from = withClient(m.from, p.client)
	r, out, end, ok := x.begin(newSession(), m)
	if !ok {
		return
	}
	defer end()
	line, failed := x.server.answer(r)
	status := modernStatus(failed.Code)
	out.answer(status, line)
	x.server.answered(r, failed, status)
}

// initialize serves the request that begins a session in protocols before 2026-07-28.
func (x *exchange) initialize(m incoming, p params) {
	session := newSession()
	m.from = withClient(m.from, p.client)
	r, out, end, ok := x.begin(session, m)
	if !ok {
		return
	}
	defer end()
	line, failed := x.server.answer(r)
	if failed.Code == 0 {
		x.w.Header().Set(headerSession, x.sessions.issue(session, x.from))
	}
	out.answer(http.StatusOK, line)
	x.server.answered(r, failed, http.StatusOK)
}

// postLegacy handles a message of a protocol before 2026-07-28. Most clients name their session.
// Some never do, and need none: all that it would add is that they can cancel by a message
// and be asked questions. Such a request is the only one of a session of its own.
func (x *exchange) postLegacy(m incoming) {
	id := x.req.Header.Get(headerSession)
	if id == "" && m.Kind == jsonrpc.KindReply {
		x.refuse(m, ReasonSession, http.StatusBadRequest, rpcError(m.ID, mcp.INVALID_REQUEST,
			"the header "+headerSession+" is missing: only in a session can there be a question to reply to", nil))
		return
	}
	if id == "" {
		alone := newSession()
		alone.Initialize()
		alone.SetProtocolVersion(x.req.Header.Get(headerVersion))
		x.serveMessage(&client{session: alone}, m)
		return
	}
	c, ok := x.sessions.hold(id, m.from)
	if !ok {
		x.refuseRequest(ReasonSession, http.StatusNotFound, "there is no such session: begin with initialize")
		return
	}
	defer x.sessions.release(c)
	m.from = withClient(m.from, c.session.GetClientInfo().Name)
	x.serveMessage(c, m)
}

// serveMessage handles a message of a client whose session is known.
func (x *exchange) serveMessage(c *client, m incoming) {
	switch {
	case m.Kind == jsonrpc.KindRequest:
		x.serveLegacy(c, m)
		return
	case m.Kind == jsonrpc.KindReply:
		c.session.questions.take(m)
	case m.Method == cancelled:
		c.cancelRequest(m.Line)
	}
	x.w.WriteHeader(http.StatusAccepted)
}

func (x *exchange) serveLegacy(c *client, m incoming) {
	r, out, end, ok := x.begin(c.session, m)
	if !ok {
		return
	}
	defer end()
	if !c.register(r) {
		x.answerRefusal(out, m, ReasonIDInUse, http.StatusOK, idInUse(m.ID))
		return
	}
	line, failed := x.server.answer(r)
	if !c.unregister(r) {
		out.nothing()
		return
	}
	out.answer(http.StatusOK, line)
	x.server.answered(r, failed, http.StatusOK)
}

// answerRefusal refuses a request whose response has been begun.
func (x *exchange) answerRefusal(out *events, m incoming, reason Reason, status int, e mcp.JSONRPCError) {
	out.answer(status, encode(e))
	x.refused(m, reason, status, e)
}

// begin makes a request of a message, or refuses it if too many are in flight. The request
// ends with the server, or when its client leaves. What it sends goes to its own response
// only.
func (x *exchange) begin(client *session, m incoming) (r *request, out *events, end func(), ok bool) {
	if over := x.server.limits.begin(m); over != nil {
		x.refuseOver(m, over)
		return nil, nil, nil, false
	}
	// The session id is a header of the response, so initialize must not begin a stream.
	out = newEvents(x.w, m.Method == string(mcp.MethodInitialize) || !takesEvents(x.req.Header))
	out.conn = netserve.Gathering(x.req)
	r = x.server.newRequest(x.life, client, m, out.message)
	r.onlyAnswer = out.plain
	if x.req.ProtoMajor == 1 { // HTTP/2 may still read from the buffer when Write has returned
		r.buffer = x.server.buffers.Take()
	}
	gone := func(err error) { r.cancel(fmt.Errorf("%w: %w", ErrClientGone, err)) }
	out.start(gone)
	unwatch := context.AfterFunc(x.req.Context(), func() { r.cancel(x.leaving()) })
	return r, out, func() {
		unwatch()
		r.cancel(nil)
		x.server.buffers.Give(r.buffer)
		r.sending.Give()
		x.server.limits.end(m)
	}, true
}

func (x *exchange) refuseOver(m incoming, over *overLimit) {
	if over.status != http.StatusRequestEntityTooLarge { // which it would always be
		x.w.Header().Set("Retry-After", "1")
	}
	x.refuse(m, over.reason, over.status, over.answer)
}

// takesEvents reports whether a client takes a stream of events for an answer.
func takesEvents(header http.Header) bool {
	accept := strings.ToLower(strings.Join(header.Values("Accept"), ","))
	return accept == "" || strings.Contains(accept, "text/event-stream") ||
		strings.Contains(accept, "text/*") || strings.Contains(accept, "*/*")
}

// receive reads the message in the body of a request, and refuses what it cannot read. The
// caller releases the memory that the message holds.
func (x *exchange) receive() (m incoming, ok bool) {
	kind, _, err := mime.ParseMediaType(x.req.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		x.refuse(incoming{}, ReasonMediaType, http.StatusUnsupportedMediaType, rpcError(nil, mcp.INVALID_REQUEST, "the Content-Type must be application/json", nil))
		return m, false
	}
	began := time.Now()
	body, memory, ok := x.receiveBody()
	if !ok {
		return m, false
	}
	var e jsonrpc.Envelope
	_, _ = e.Write(body)
	m = incoming{Message: e.Message(body)}
	m.from, m.header, m.held = x.from, loggedHeaders(x.req.Header), memory
	m.began, m.transport, m.remote = began, x.transport, x.remote()
	if over := x.server.limits.decode(m, memory); over != nil {
		memory.Give()
		x.refuseOver(m, over)
		return m, false
	}
	return m, true
}

// receiveBody reads the body of a request, and refuses one that it cannot read. The caller
// releases the memory that the body holds.
func (x *exchange) receiveBody() (body []byte, memory *share.Part, ok bool) {
	limit, whose := x.server.opts.MaxMessage, "this server takes"
	if own := x.from.Limits.Body; own > 0 && own < limit {
		limit, whose = own, "you may send"
	}
	memory = x.server.limits.messages.Part(x.from.ID)
	body, err := x.readBody(limit, memory)
	if err != nil {
		memory.Give()
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		x.refuse(incoming{}, ReasonTooLarge, http.StatusRequestEntityTooLarge, tooLong(nil, limit, whose))
		return nil, nil, false
	case overMessages(nil, err) != nil:
		x.refuseOver(incoming{}, overMessages(nil, err))
		return nil, nil, false
	case errors.Is(err, caller.ErrRevoked):
		x.denyRevoked()
		return nil, nil, false
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.refuse(incoming{}, ReasonIncomplete, http.StatusRequestTimeout, rpcError(nil, mcp.INVALID_REQUEST, "the message did not arrive in time", retry("timeout", true)))
		return nil, nil, false
	case err != nil:
		x.refuse(incoming{}, ReasonIncomplete, http.StatusBadRequest, rpcError(nil, mcp.INVALID_REQUEST, "the message did not arrive whole", nil))
		return nil, nil, false
	}
	return body, memory, true
}

// readBody allocates for what has arrived, whatever Content-Length says, reserves memory for
// all of it, and sees that it keeps arriving.
func (x *exchange) readBody(limit int64, memory *share.Part) ([]byte, error) {
	if x.req.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	flow := http.NewResponseController(x.w)
	noDeadline(flow)
	var body bytes.Buffer
	if n := x.req.ContentLength; n > 0 {
		body.Grow(int(min(n, 64<<10)) + bytes.MinRead)
	}
	in := message{ctx: x.req.Context(), in: http.MaxBytesReader(x.w, x.req.Body, limit), memory: memory, extend: func(deadline time.Time) { _ = flow.SetReadDeadline(deadline) }}
	_, err := io.Copy(&body, &in)
	if err == nil {
		_ = flow.SetReadDeadline(time.Time{}) // or net/http would take the end of the wait for a client that left
	}
	extend(flow)
	return body.Bytes(), err
}
