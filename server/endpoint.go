package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/jsonrpc"
	"ollama-mcp/internal/share"
)

// Endpoint is a path of another API that is served beside MCP. Its callers are authenticated,
// counted and limited as those of MCP are, and its requests end with their client, with the
// credentials of their caller, and with the server.
type Endpoint struct {
	// Path may end with a variable in braces, such as /models/{name}, which stands for all that
	// can follow.
	Method, Path string
	// Serve answers a request, whose caller is in its context. The body has been read, and is
	// valid until Serve returns. It is nil for a path that answers everybody with an empty 200.
	Serve func(w http.ResponseWriter, req *http.Request, body []byte)
	// Fail writes an error in the form of the API. code is one of Reason, or of RFC 6750.
	Fail func(w http.ResponseWriter, status int, code, text string)
	// Expose are headers of answers that pages of allowed origins may read.
	Expose []string
}

// fail writes an error in the form of an API.
type fail = func(w http.ResponseWriter, status int, code, text string)

// routeEndpoints adds the endpoints of other APIs to the routes. A path may have methods already.
func (h *HTTP) routeEndpoints() {
	h.foreign = make(map[string]fail)
	for _, e := range h.opts.Endpoints {
		path := withoutSlash(e.Path)
		if before, _, isPattern := strings.Cut(path, "{"); isPattern {
			h.patterns = append(h.patterns, pattern{before, path})
		}
		if h.routes[path] == nil {
			h.routes[path] = methods{}
		}
		if e.Serve == nil {
			h.routes[path][e.Method] = func(http.ResponseWriter, *http.Request) {}
			continue
		}
		h.foreign[path] = e.Fail
		h.routes[path][e.Method] = h.authenticated(func(x *exchange) { x.serveEndpoint(e) })
	}
}

// pattern is a route for all paths that begin in one way.
type pattern struct{ before, route string }

// routeOf is the route that a path belongs to, which may not exist.
func (h *HTTP) routeOf(path string) string {
	path = withoutSlash(path)
	if h.routes[path] != nil {
		return path
	}
	for _, p := range h.patterns {
		if strings.HasPrefix(path, p.before) {
			return p.route
		}
	}
	return path
}

// failure is how errors are reported at a route.
func (h *HTTP) failure(route string) fail {
	if foreign := h.foreign[route]; foreign != nil {
		return foreign
	}
	return writeError
}

// exposed are the headers of endpoints that pages may read, each after a comma.
func (h *HTTP) exposed() string {
	var all []string
	for _, e := range h.opts.Endpoints {
		all = append(all, e.Expose...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) == 0 {
		return ""
	}
	return ", " + strings.Join(all, ", ")
}

// serveEndpoint has a request served that is not one of MCP.
func (x *exchange) serveEndpoint(e Endpoint) {
	program, _, _ := strings.Cut(x.req.UserAgent(), " ")
	x.from = withClient(x.from, program)
	m := incoming{from: x.from, header: loggedHeaders(x.req.Header), transport: x.transport, remote: x.remote()}
	if x.refuseStopping(m) {
		return
	}
	if over := x.server.limits.check(m); over != nil { // before the body is read
		x.refuseOver(m, over)
		return
	}
	ctx := caller.WithArrival(x.req.Context(), time.Now())
	body, memory, ok := x.receiveBody()
	if !ok {
		return
	}
	defer memory.Give()
	var scan jsonrpc.Envelope
	_, _ = scan.Write(body)
	m.Values = scan.Values
	if over := x.server.limits.decode(m, memory); over != nil {
		x.refuseOver(m, over)
		return
	}
	if over := x.server.limits.begin(m); over != nil {
		x.refuseOver(m, over)
		return
	}
	defer x.server.limits.end(m)
	ctx, cancel := context.WithCancelCause(caller.NewContext(ctx, x.from))
	defer cancel(nil)
	defer context.AfterFunc(x.life, func() { cancel(context.Cause(x.life)) })()
	w := &reply{exchange: x, ctx: ctx, m: m, flow: http.NewResponseController(x.w), memory: x.server.limits.answers.Part(x.from.ID)}
	defer w.memory.Give()
	noDeadline(w.flow)
	e.Serve(w, x.req.WithContext(ctx), body)
}

// reply is the response of an endpoint. Its client has writeTimeout to read each piece.
type reply struct {
	*exchange
	ctx      context.Context // of the request
	m        incoming
	flow     *http.ResponseController
	memory   *share.Part
	begun    bool      // the head has been sent
	extended time.Time // when the deadline for writing was set; the zero Time if there is none
}

// deadlineAge is how old a deadline for writing over HTTP/1 may be, so that one serves for many pieces of
// a stream.
const deadlineAge = time.Second

// extend gives the client writeTimeout to read what is written next, or up to deadlineAge less.
func (r *reply) extend() {
	now := time.Now()
	if r.req.ProtoMajor > 1 || now.Sub(r.extended) >= deadlineAge {
		r.extended = now
		extend(r.flow)
	}
}

// rest lets time pass in which there is nothing to write. Over HTTP/1 a deadline that passes meanwhile
// does no harm: the next piece has another.
func (r *reply) rest() {
	if r.req.ProtoMajor > 1 {
		noDeadline(r.flow)
	}
}

// Header implements http.ResponseWriter.
func (r *reply) Header() http.Header { return r.w.Header() }

// WriteHeader implements http.ResponseWriter.
func (r *reply) WriteHeader(status int) {
	r.extend()
	r.begun = true
	r.w.WriteHeader(status)
}

// Write implements http.ResponseWriter. Its error says that nobody will read the rest, or may.
func (r *reply) Write(text []byte) (n int, err error) {
	for piece := range slices.Chunk(text, pieceSize) {
		if n > 0 && r.ctx.Err() != nil { // an error that says so is one piece
			return n, context.Cause(r.ctx)
		}
		r.extend()
		done, err := r.w.Write(piece)
		if n += done; err != nil {
			return n, err
		}
	}
	return n, nil
}

// FlushError has the client get what was written.
func (r *reply) FlushError() error {
	r.extend()
	defer r.rest()
	return r.flow.Flush()
}

// Hold takes memory for an answer of so many bytes, or for what is left of it. If there is none, it
// refuses the request unless its response has begun. The memory is given back when the request ends.
func (r *reply) Hold(size int) bool {
	over := (&request{incoming: r.m, sending: r.memory}).hold(size)
	switch {
	case over == nil:
		return true
	case r.begun:
		r.refused(r.m, over.reason, http.StatusOK, over.answer)
	default:
		r.refuseOver(r.m, over)
	}
	return false
}
