package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/netserve"
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
		x.from.Valid = h.validWhileTrusted(x.from.Valid, req.TLS)
		if x.from.Valid == nil {
			serve(x)
			return
		}
		defer x.endIfRevoked()()
		if x.from.IsRevoked() { // since it was authenticated, but before it could be ended
			x.denyRevoked()
			return
		}
		serve(x)
	}
}

// revocable are requests, with their streams, that end when their caller's credentials are revoked.
type revocable struct {
	// mu guards what follows; nothing blocks under it.
	mu  sync.Mutex
	all map[*exchange]revocation
}

// revocation is how the request of a caller is ended. The caller is as it was authenticated: the one
// of the exchange belongs to the goroutine that serves it.
type revocation struct {
	from   caller.Caller
	cancel context.CancelCauseFunc
}

// endIfRevoked lets the request end early, which its context tells. It must be called after the
// caller is known and before the request is served, and its result when it has been.
func (x *exchange) endIfRevoked() (served func()) {
	ctx, cancel := context.WithCancelCause(x.req.Context())
	x.req = x.req.WithContext(ctx)
	o := &x.revocable
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = make(map[*exchange]revocation)
	}
	o.all[x] = revocation{x.from, cancel}
	return func() {
		o.mu.Lock()
		delete(o.all, x)
		o.mu.Unlock()
		cancel(nil)
	}
}

// EndRevoked ends the requests and streams of callers whose credentials are no longer good, and the
// connections of clients whose certificates are of an authority that was removed from its file.
func (h *HTTP) EndRevoked() {
	if h.certificates != nil {
		h.certificates.Reload()
	}
	defer h.certified.end(h.certificates)
	h.revocable.mu.Lock()
	defer h.revocable.mu.Unlock()
	for _, r := range h.revocable.all {
		if r.from.IsRevoked() {
			r.cancel(caller.ErrRevoked)
		}
	}
}

// validWhileTrusted returns the Valid of a caller who came over a connection with a client
// certificate: the authority that signed it must be trusted too.
func (h *HTTP) validWhileTrusted(valid func() bool, client *tls.ConnectionState) func() bool {
	if h.opts.TLS.ClientCAFile == "" || client == nil {
		return valid
	}
	return func() bool { return (valid == nil || valid()) && h.certificates.Trusts(client) }
}

// certified are the open connections with client certificates.
type certified struct {
	// mu guards what follows; nothing blocks under it.
	mu  sync.Mutex
	all map[*tls.Conn]bool
}

// note is an http.Server.ConnState. It takes connections that have agreed on TLS, of which the state
// can be read without waiting.
func (c *certified) note(conn net.Conn, state http.ConnState) {
	client, ok := conn.(*tls.Conn)
	if !ok || state == http.StateNew {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = make(map[*tls.Conn]bool)
	}
	if c.all[client] = true; state == http.StateClosed {
		delete(c.all, client)
	}
}

// end ends the connections whose certificates are no longer trusted.
func (c *certified) end(by *netserve.Certificates) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.all {
		if state := conn.ConnectionState(); !by.Trusts(&state) {
			_ = conn.NetConn().Close() // without a goodbye, for which it would have to wait
		}
	}
}

// endWhenExpired calls end when the caller's credentials expire, unless stop is called before.
func (x *exchange) endWhenExpired(end func()) (stop func()) {
	if x.from.Expires.IsZero() {
		return func() {}
	}
	timer := time.AfterFunc(time.Until(x.from.Expires), end)
	return func() { timer.Stop() }
}

// denyRevoked answers a request whose caller's credentials have been revoked since it came.
func (x *exchange) denyRevoked() {
	x.deny(&caller.Denied{Code: "invalid_token", Message: textRevoked})
}

const textRevoked = "the key, token or certificate of this request is no longer valid"

// leaving is the cause with which the work for an HTTP request ends when its context does.
func (x *exchange) leaving() error {
	why := context.Cause(x.req.Context())
	if errors.Is(why, caller.ErrRevoked) {
		return why
	}
	return fmt.Errorf("%w: %w", ErrClientGone, why)
}

// isOpen reports whether a request may see what all callers do without credentials.
func (h *HTTP) isOpen(req *http.Request) bool {
	return h.opts.Authenticate == nil && h.opts.Insecure || h.origin(req).local
}

// isAdministrator reports whether a request may see what all callers do.
func (h *HTTP) isAdministrator(req *http.Request) bool {
	if h.isOpen(req) {
		return true
	}
	who, err := h.authenticate(req)
	return err == nil && who.Admin
}

// forAdministrators serves a page that shows what all callers do: to processes of this machine,
// which need no credentials for it, and to administrators. Where everybody may call, everybody
// may see it.
func (h *HTTP) forAdministrators(page http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if h.isOpen(req) {
			page.ServeHTTP(w, req)
			return
		}
		x := h.newExchange(w, req)
		var err error
		if x.from, err = h.authenticate(req); err != nil {
			x.deny(err)
			return
		}
		if !x.from.Admin {
			x.refuseRequest(ReasonNotAdmin, http.StatusForbidden, "only administrators may read this, or programs on the same machine that connect to it directly")
			return
		}
		page.ServeHTTP(w, req)
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
		x.refuseRequest(ReasonAuthUnavailable, http.StatusServiceUnavailable, "callers cannot be authenticated at the moment, for a reason that is in the server's log; try again shortly")
		return
	}
	challenge := "Bearer"
	if x.opts.Challenge != nil {
		challenge = x.opts.Challenge(x.req, denied)
	}
	x.w.Header().Set("WWW-Authenticate", challenge)
	reason, status := ReasonUnauthorized, http.StatusUnauthorized
	switch denied.Code { // RFC 6750, section 3.1
	case "insufficient_scope":
		reason, status = ReasonForbidden, http.StatusForbidden
	case "invalid_request":
		status = http.StatusBadRequest
	}
	x.refuseAs(cmp.Or(denied.Code, string(reason)), reason, status, denied.Message)
}

// sameOwner reports whether a request may use a session or stream that another request began.
// Callers without credentials have no tenant: the session id is their secret, and their
// addresses may change on the way.
func sameOwner(began, names caller.Caller) bool { return began.Tenant == names.Tenant }

// MetadataPath is where clients look for the OAuth metadata of a server (RFC 9728, section
// 3.1); for the metadata of one endpoint they append the path of its URL.
const MetadataPath = "/.well-known/oauth-protected-resource"

// metadata serves a document of the metadata, for everybody.
func (h *HTTP) metadata() methods {
	serve := func(w http.ResponseWriter, req *http.Request) {
		document := h.opts.Metadata(withoutSlash(req.URL.Path))
		beginJSON(w, http.StatusOK, len(document))
		_, _ = w.Write(document) // if it cannot, nobody is left to be told
	}
	return methods{http.MethodGet: serve, http.MethodHead: serve}
}
