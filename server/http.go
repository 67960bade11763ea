package server

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/netserve"
)

// HTTPOptions configure how a server is reached over HTTP. Zero fields take the defaults
// given with them.
type HTTPOptions struct {
	// Listen are the addresses for ListenAndServe: host:port, or unix:PATH for a socket that
	// only its owner may use.
	Listen []string

	// TLS is used on all addresses but Unix sockets. The zero value means plain HTTP.
	TLS TLSOptions

	// Insecure allows addresses that other machines can connect to even though callers need no
	// credentials.
	Insecure bool

	// Authenticate returns the caller of a request, from its header alone. Its error is a
	// *caller.Denied if the request must be refused, and any other error if that cannot be
	// found out at the moment. It is called concurrently. If it is nil, callers need no
	// credentials.
	Authenticate func(*http.Request) (caller.Caller, error)

	// Challenge returns the WWW-Authenticate header for a refused caller. If it is nil, the
	// header is "Bearer".
	Challenge func(*caller.Denied) string

	// Metadata is the JSON document that tells clients where to get a token (RFC 9728). It is
	// public. Nil means that there is none.
	Metadata []byte

	// AllowedHosts are names or addresses, without ports, that clients may use for the server,
	// besides loopback names and the address on which a connection arrives.
	AllowedHosts []string

	// AllowedOrigins are the web sites, such as https://example.com, whose pages may use the
	// server. By default none may.
	AllowedOrigins []string

	// TrustedProxies are the addresses and networks, such as 10.0.0.0/8, of proxies that
	// add the address of their client to X-Forwarded-For; "unix" stands for one that
	// connects by a Unix socket. What others say there is not believed.
	TrustedProxies []string

	// Ready says why the server cannot answer at the moment, for /readyz; nil if it can, as
	// far as it knows without asking anybody. It is called concurrently, and must not block.
	// If it is nil, the server is ready as long as it takes requests.
	Ready func() error

	MaxSessions int           // sessions, and as many SSE streams; 0 means 10,000
	SessionIdle time.Duration // after which an unused session ends; 0 means an hour
}

// TLSOptions name the files of certificates.
type TLSOptions = netserve.TLSOptions

// HTTP serves the Model Context Protocol over HTTP: streamable HTTP at /mcp, and
// HTTP with SSE, as it was until 2025, at /sse and /message. /healthz says that
// the process is alive, /readyz that it takes requests and can answer them. Use NewHTTP to make one.
//
// The context of each request has its caller. Where no credentials are needed, callers
// are told apart by their address, and those on this machine also by the name that the
// client gives itself. Only those on this machine are administrators, and no request is
// theirs that a proxy has forwarded.
type HTTP struct {
	server       *Server
	opts         HTTPOptions
	certificates *netserve.Certificates // nil without TLS
	hosts        map[string]bool
	origins      map[string]bool
	proxies      []netip.Prefix // that are trusted
	unixProxy    bool           // is trusted
	proxyWarning sync.Once
	routes       *http.ServeMux

	gate     // for requests and streams
	sessions sessions
	streams  streams

	// life is the context of all requests to /mcp. Its cause says why they had to end.
	life context.Context
	kill context.CancelCauseFunc

	// stopping ends when the server takes no more requests.
	stopping context.Context
	stop     context.CancelFunc
}

// NewHTTP checks the options, and names the one that is wrong.
func NewHTTP(s *Server, opts HTTPOptions) (*HTTP, error) {
	if opts.MaxSessions == 0 {
		opts.MaxSessions = 10_000
	}
	if opts.SessionIdle == 0 {
		opts.SessionIdle = time.Hour
	}
	h := &HTTP{server: s, opts: opts, routes: http.NewServeMux()}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	h.sessions.max, h.sessions.idle = opts.MaxSessions, opts.SessionIdle
	h.life, h.kill = context.WithCancelCause(context.Background())
	h.stopping, h.stop = context.WithCancel(context.Background())
	h.route()
	return h, nil
}

// check validates the options, and sets what they become.
func (h *HTTP) check() error {
	switch opts := h.opts; {
	case opts.MaxSessions < 0:
		return fmt.Errorf("option MaxSessions is %d, less than 0", opts.MaxSessions)
	case opts.SessionIdle < 0:
		return fmt.Errorf("option SessionIdle is %v, less than 0", opts.SessionIdle)
	}
	if err := h.allow(h.opts); err != nil {
		return err
	}
	if err := h.trustProxies(h.opts.TrustedProxies); err != nil {
		return err
	}
	if h.opts.TLS == (TLSOptions{}) {
		return nil
	}
	var err error
	if h.certificates, err = netserve.NewCertificates(h.opts.TLS, h.server.opts.Log); err != nil {
		return fmt.Errorf("option TLS: %w", err)
	}
	return nil
}

func (h *HTTP) route() {
	h.routes.HandleFunc("POST /mcp", h.authenticated((*exchange).post))
	h.routes.HandleFunc("DELETE /mcp", h.authenticated((*exchange).deleteSession))
	h.routes.HandleFunc("GET /sse", h.authenticated((*exchange).openStream))
	h.routes.HandleFunc("POST /message", h.authenticated((*exchange).streamMessage))
	h.routes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	h.routes.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if h.stopping.Err() != nil {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		if h.opts.Ready != nil {
			if err := h.opts.Ready(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	})
	if h.opts.Metadata != nil {
		h.routes.HandleFunc("GET "+metadataPath, h.metadata)
		h.routes.HandleFunc("GET "+metadataPath+"/mcp", h.metadata)
	}
}
