package server

import (
	"encoding/json"
	"errors"
	"net/http"

	"ollama-mcp/internal/caller"
)

// admitted serves the requests of those who may ask. When the server stops it waits for
// them; those that come later it only lets cancel, or reply to, what is in flight.
func (h *HTTP) admitted(serve func(http.ResponseWriter, *http.Request, caller.Caller)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if h.enter() {
			defer h.leave()
		}
		from, err := h.authenticate(req)
		if err != nil {
			h.turnAway(w, req, err)
			return
		}
		serve(w, req, from)
	}
}

// refuseLate refuses a request because the server is stopping, and reports whether it is.
func (h *HTTP) refuseLate(w http.ResponseWriter, id json.RawMessage) bool {
	if h.stopping.Err() == nil {
		return false
	}
	w.Header().Set("Connection", "close") // another server may be behind the next one
	w.Header().Set("Retry-After", "1")
	refuse(w, http.StatusServiceUnavailable, stopping(id))
	return true
}

// authenticate tells who a request comes from. What they prove it with goes no
// further.
func (h *HTTP) authenticate(req *http.Request) (caller.Caller, error) {
	defer req.Header.Del("Authorization")
	if h.opts.Authenticate == nil {
		return h.origin(req).anonymous(), nil
	}
	return h.opts.Authenticate(req)
}

// turnAway answers a request that comes from nobody who may ask, or from whom
// cannot be told.
func (h *HTTP) turnAway(w http.ResponseWriter, req *http.Request, err error) {
	log := h.server.opts.Log.With("client", req.RemoteAddr, "path", req.URL.Path, "request", req.Header.Get(headerRequestID))
	denied, ok := errors.AsType[*caller.Denied](err)
	if !ok {
		log.Warn("cannot tell who asks", "error", err)
		w.Header().Set("Retry-After", "5")
		http.Error(w, "it cannot be told at the moment who may ask; try again shortly", http.StatusServiceUnavailable)
		return
	}
	log.Info("refused one who may not ask", "error", denied.Message)
	challenge, status := "Bearer", http.StatusUnauthorized
	if h.opts.Challenge != nil {
		challenge = h.opts.Challenge(denied)
	}
	if denied.Code == "insufficient_scope" {
		status = http.StatusForbidden
	}
	w.Header().Set("WWW-Authenticate", challenge)
	http.Error(w, denied.Message, status)
}

// mayContinue reports whether a request may name what another one began. Callers
// without credentials have no tenant: to them what they name is a secret, and their
// addresses may change on the way.
func mayContinue(began, names caller.Caller) bool { return began.Tenant == names.Tenant }

// metadataPath is where RFC 9728, section 3.1, has clients look for the metadata of
// a server, and with the path of its endpoint behind it, of that.
const metadataPath = "/.well-known/oauth-protected-resource"

func (h *HTTP) isMetadata(path string) bool {
	return h.opts.Metadata != nil && (path == metadataPath || path == metadataPath+"/mcp")
}

// metadata serves GET of the metadata, for everybody.
func (h *HTTP) metadata(w http.ResponseWriter, _ *http.Request) {
	beginJSON(w, http.StatusOK, len(h.opts.Metadata))
	_, _ = w.Write(h.opts.Metadata) // if it cannot, nobody is left to be told
}
