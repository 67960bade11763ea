package server

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"

	"ollama-mcp/internal/caller"
)

// Refusal describes a message or HTTP request that was refused before any tool, resource
// or prompt was reached.
type Refusal struct {
	Reason    Reason
	Transport string // "stdio", "sse", or "http" for all else
	Remote    string // address of the client, as host:port where the port is known; "" over stdio
	Caller    string // ID of the caller; "" over stdio and as long as nobody is authenticated
	RequestID string // X-Request-Id of the HTTP request; "" over stdio
	MessageID string // id of the JSON-RPC message, as JSON; "" if it has none or was not read
	Method    string // of the message; "" likewise
	Status    int    // of the HTTP response; 0 over stdio, and where the answer went over a stream
	Code      int    // of the JSON-RPC error; 0 if the answer was none
	Message   string // what the client was told; never a credential
}

// Reason says in a word why something was refused. The words are stable, so that they can
// be counted by.
type Reason string

// Why a message or a request is refused.
const (
	ReasonHost            Reason = "host_not_allowed"
	ReasonOrigin          Reason = "origin_not_allowed"
	ReasonUnauthorized    Reason = "unauthorized"       // no credentials, or none that are valid
	ReasonForbidden       Reason = "insufficient_scope" // of an access token
	ReasonNotAdmin        Reason = "not_administrator"
	ReasonAuthUnavailable Reason = "authentication_unavailable"
	ReasonMediaType       Reason = "unsupported_media_type"
	ReasonTooLarge        Reason = "message_too_large"
	ReasonNoMemory        Reason = "message_memory_full" // Options.MaxHeld
	ReasonIncomplete      Reason = "message_incomplete"  // or late
	ReasonMalformed       Reason = "malformed"
	ReasonProtocol        Reason = "protocol_mismatch" // an unknown version, or headers that contradict the message
	ReasonSession         Reason = "unknown_session"   // none, a forged one, another caller's, or a stream that has ended
	ReasonSessions        Reason = "too_many_sessions" // that is, SSE streams
	ReasonInFlight        Reason = "too_many_in_flight"
	ReasonCallerLimit     Reason = "caller_limit"       // one caller has its share of what callers share: requests in flight, say
	ReasonAnswers         Reason = "answer_memory_full" // Options.MaxAnswers
	ReasonIDInUse         Reason = "id_in_use"
	ReasonMethod          Reason = "unknown_method"
	ReasonTool            Reason = "unknown_tool"
	ReasonStopping        Reason = "stopping"
)

// Transports, in Refusal.Transport.
const (
	overStdio = "stdio"
	overHTTP  = "http"
	overSSE   = "sse"
)

// maxUntold is how many refusals may wait for the observer.
const maxUntold = 1000

// refusals wait for the observer to be told of them. The zero value has none.
type refusals struct {
	// mu guards what follows; nothing blocks under it.
	mu      sync.Mutex
	untold  []untold
	dropped int
	telling chan struct{} // closed when all have been told; nil if nobody is telling
}

type untold struct {
	ctx context.Context
	Refusal
}

// refused has the observer told of a refusal. It does not wait for the observer.
func (s *Server) refused(ctx context.Context, r Refusal) {
	if s.opts.OnRefused == nil {
		return
	}
	q := &s.refusals
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.untold) >= maxUntold {
		q.dropped++
		return
	}
	q.untold = append(q.untold, untold{context.WithoutCancel(ctx), r})
	if q.telling == nil {
		q.telling = make(chan struct{})
		go s.tell()
	}
}

// tell calls the observer until no refusal waits for it.
func (s *Server) tell() {
	q := &s.refusals
	for {
		q.mu.Lock()
		next, dropped := q.untold, q.dropped
		q.untold, q.dropped = nil, 0
		if len(next) == 0 {
			close(q.telling)
			q.telling = nil
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		if dropped > 0 {
			s.opts.Log.Warn("refusals were not reported, since their observer is slow", "refusals", dropped)
		}
		for _, r := range next {
			s.opts.OnRefused(r.ctx, r.Refusal)
		}
	}
}

// awaitTold returns when the observer has been told of all refusals, or is too slow.
func (s *Server) awaitTold() {
	s.refusals.mu.Lock()
	telling := s.refusals.telling
	s.refusals.mu.Unlock()
	if telling != nil {
		within(cancelGrace, telling)
	}
}

// refusalOf describes the refusal of a message by a JSON-RPC error.
func refusalOf(m incoming, reason Reason, e mcp.JSONRPCErrorDetails) Refusal {
	r := Refusal{
		Reason: reason, Transport: m.transport, Remote: m.remote, Caller: m.from.ID,
		MessageID: string(m.ID), Method: m.Method, Code: e.Code, Message: e.Message,
	}
	if m.header != nil {
		r.RequestID = m.header.Get(headerRequestID)
	}
	return r
}

// unreached is the reason for which an error of mcp-go refused a request, or "" if it is
// no refusal: then something has handled the request.
func (r *request) unreached(code int) Reason {
	switch {
	case r.withheld != "":
		return r.withheld
	case r.reached:
	case code == mcp.METHOD_NOT_FOUND:
		return ReasonMethod
	case code == mcp.UNSUPPORTED_PROTOCOL_VERSION:
		return ReasonProtocol
	case r.unknown:
		return ReasonTool
	case code == mcp.PARSE_ERROR, code == mcp.INVALID_REQUEST, code == mcp.INVALID_PARAMS && r.Method == string(mcp.MethodToolsCall):
		return ReasonMalformed
	}
	return ""
}

// answered has the observer told if the answer to a request refused it.
func (s *Server) answered(r *request, failed mcp.JSONRPCErrorDetails, status int) {
	if failed.Code == 0 {
		return
	}
	if reason := r.unreached(failed.Code); reason != "" {
		refusal := refusalOf(r.incoming, reason, failed)
		refusal.Status = status
		s.refused(r.ctx, refusal)
	}
}

// exchange is an HTTP request and its response.
type exchange struct {
	*HTTP
	w         http.ResponseWriter
	req       *http.Request
	from      caller.Caller // once that is known
	transport string
	foreign   bool // the endpoint is one of another API
}

func (h *HTTP) newExchange(w http.ResponseWriter, req *http.Request) *exchange {
	x := &exchange{HTTP: h, w: w, req: req, transport: overHTTP}
	path := withoutSlash(req.URL.Path)
	if path == "/sse" || path == "/message" {
		x.transport = overSSE
	}
	_, x.foreign = h.foreign[path]
	return x
}

// remote is the address of the client, as far as it can be believed.
func (x *exchange) remote() string {
	if len(x.proxies) == 0 && !x.unixProxy {
		return x.req.RemoteAddr
	}
	peer := parseAddr(x.req.RemoteAddr)
	onlyHere, _ := x.req.Context().Value(localListenerKey{}).(bool)
	if x.trusts(peer, onlyHere) {
		if client := x.forwardedFor(x.req, peer); client.IsValid() && client != peer {
			return client.String()
		}
	}
	return x.req.RemoteAddr
}

// refuse answers a message with an error of JSON-RPC, or in the form of the API whose endpoint it
// was sent to.
func (x *exchange) refuse(m incoming, reason Reason, status int, e mcp.JSONRPCError) {
	if x.foreign {
		x.refuseRequest(reason, status, e.Error.Message)
		return
	}
	body := encode(e)
	beginJSON(x.w, status, len(body))
	_, _ = x.w.Write(body) // if it cannot, nobody is left to be told
	x.refused(m, reason, status, e)
}

// refused has the observer told of the refusal of a message.
func (x *exchange) refused(m incoming, reason Reason, status int, e mcp.JSONRPCError) {
	if m.transport == "" { // it was not read
		m.from, m.header = x.from, loggedHeaders(x.req.Header)
		m.transport, m.remote = x.transport, x.remote()
	}
	refusal := refusalOf(m, reason, e.Error)
	refusal.Status = status
	x.server.refused(x.req.Context(), refusal)
}

// refuseRequest answers a request that is not going to be looked at, or whose client would
// take an error of JSON-RPC for something else: on one, the SDK for Go goes on using a session
// that is unknown.
func (x *exchange) refuseRequest(reason Reason, status int, text string) {
	x.refuseAs(string(reason), reason, status, text)
}

// refuseAs is refuseRequest with another code in the answer.
func (x *exchange) refuseAs(code string, reason Reason, status int, text string) {
	x.failure(x.routeOf(x.req.URL.Path))(x.w, status, code, text)
	x.server.refused(x.req.Context(), Refusal{
		Reason: reason, Transport: x.transport, Remote: x.remote(), Caller: x.from.ID,
		RequestID: x.req.Header.Get(headerRequestID), Status: status, Message: text,
	})
}

// writeError answers a request with an error in the form of OAuth's (RFC 6749, section 5.2),
// since clients that look for an authorization server here read it as one.
func writeError(w http.ResponseWriter, status int, code, text string) {
	body, _ := json.Marshal(struct { // cannot fail: it is text
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{code, text})
	beginJSON(w, status, len(body))
	_, _ = w.Write(body) // if it cannot, nobody is left to be told
}
