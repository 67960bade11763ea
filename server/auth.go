package server

import (
	"errors"
	"net/http"

	"ollama-mcp/internal/caller"
)

// authenticated authenticates a request before it is served. Requests that came before the
// server began to stop are waited for; later ones are only served far enough to cancel, or
// reply to, requests in flight.
func (h *HTTP) authenticated(serve func(*exchange)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if h.enter() {
			defer h.leave()
		}
		x := h.newExchange(w, req)
		var err error
		if x.from, err = h.authenticate(req); err != nil {
			x.deny(err)
			return
		}
		serve(x)
	}
}

// refuseStopping refuses a request if the server is stopping, and reports whether it is.
func (x *exchange) refuseStopping(m incoming) bool {
	if x.stopping.Err() == nil {
		return false
	}
	x.w.Header().Set("Connection", "close") // the next connection may reach another server
	x.w.Header().Set("Retry-After", "1")
	x.refuse(m, ReasonStopping, http.StatusServiceUnavailable, stopping(m.ID))
	return true
}

// authenticate returns the caller of a request. Credentials travel no further.
func (h *HTTP) authenticate(req *http.Request) (caller.Caller, error) {
	defer req.Header.Del("Authorization")
	if h.opts.Authenticate == nil {
		return h.origin(req).anonymous(), nil
	}
	return h.opts.Authenticate(req)
}

// deny answers a request whose caller may not call, or could not be authenticated.
func (x *exchange) deny(err error) {
	denied, ok := errors.AsType[*caller.Denied](err)
	if !ok {
		x.server.opts.Log.Warn("callers cannot be authenticated", "request", x.req.Header.Get(headerRequestID), "error", err)
		x.w.Header().Set("Retry-After", "5")
		x.refuseRequest(ReasonAuthUnavailable, http.StatusServiceUnavailable, "callers cannot be authenticated at the moment; try again shortly")
		return
	}
	challenge := "Bearer"
	if x.opts.Challenge != nil {
		challenge = x.opts.Challenge(denied)
	}
	x.w.Header().Set("WWW-Authenticate", challenge)
	if denied.Code == "insufficient_scope" {
		x.refuseRequest(ReasonForbidden, http.StatusForbidden, denied.Message)
		return
	}
	x.refuseRequest(ReasonUnauthorized, http.StatusUnauthorized, denied.Message)
}

// sameOwner reports whether a request may use a session or stream that another request began.
// Callers without credentials have no tenant: the session id is their secret, and their
// addresses may change on the way.
func sameOwner(began, names caller.Caller) bool { return began.Tenant == names.Tenant }

// metadataPath is where clients look for the OAuth metadata of a server (RFC 9728, section
// 3.1); for the metadata of one endpoint they append its path.
const metadataPath = "/.well-known/oauth-protected-resource"

func (h *HTTP) isMetadata(path string) bool {
	return h.opts.Metadata != nil && (path == metadataPath || path == metadataPath+"/mcp")
}

// metadata serves GET of the metadata, for everybody.
func (h *HTTP) metadata(w http.ResponseWriter, _ *http.Request) {
	beginJSON(w, http.StatusOK, len(h.opts.Metadata))
	_, _ = w.Write(h.opts.Metadata) // if it cannot, nobody is left to be told
}
