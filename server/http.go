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

// HTTPOptions describe how a server is reached over HTTP. Zero fields take the
// defaults given with them.
type HTTPOptions struct {
	// Listen is where to listen: host:port, or unix:PATH for a socket that only
	// its owner may use. Only ListenAndServe needs it.
	Listen []string

	// TLS is spoken with all who connect, but not over sockets of Unix. The zero
	// value leaves what is said in clear.
	TLS TLSOptions

	// Insecure allows to listen where other machines can connect, though nobody
	// has to prove who they are.
	Insecure bool

	// Authenticate tells who a request comes from, by its head alone. Its error is
	// a *caller.Denied if that is nobody who may ask, and another if it cannot be
	// told at the moment. It may be called by many at once. Nil lets everybody ask.
	Authenticate func(*http.Request) (caller.Caller, error)

	// Challenge is the WWW-Authenticate header for one who was denied. Nil means
	// that it says Bearer, and no more.
	Challenge func(*caller.Denied) string

	// Metadata is the JSON document by which clients find out where to get a token
	// (RFC 9728), for everybody to read. Nil means that there is none.
	Metadata []byte

	// AllowedHosts are names or addresses, without ports, by which clients may
	// call the server, besides those of the loopback interface and the address
	// that the connection came in by.
	AllowedHosts []string

	// AllowedOrigins are the web sites, such as https://example.com, whose pages
	// may use the server. None may without it.
	AllowedOrigins []string

	// TrustedProxies are the addresses and networks, such as 10.0.0.0/8, of proxies that
	// add the address of their client to X-Forwarded-For; "unix" stands for one that
	// connects by a Unix socket. What others say there is not believed.
	TrustedProxies []string

	MaxSessions int           // clients that are remembered, and open streams of SSE; 0 means 10,000
	SessionIdle time.Duration // after which a client is forgotten; 0 means an hour
}

// TLSOptions name the files of certificates.
type TLSOptions = netserve.TLSOptions

// HTTP serves the Model Context Protocol over HTTP: streamable HTTP at /mcp, and
// HTTP with SSE, as it was until 2025, at /sse and /message. /healthz says that
// the process is alive, /readyz that it takes requests. Use NewHTTP to make one.
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

	// life is that of all requests to /mcp. Its cause says why they had to end.
	life context.Context
	kill context.CancelCauseFunc

	// stopping ends when no more requests are taken.
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

// check takes over the options that are more than numbers.
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
	h.routes.HandleFunc("POST /mcp", h.admitted((*exchange).post))
	h.routes.HandleFunc("DELETE /mcp", h.admitted((*exchange).deleteSession))
	h.routes.HandleFunc("GET /sse", h.admitted((*exchange).openStream))
	h.routes.HandleFunc("POST /message", h.admitted((*exchange).streamMessage))
	h.routes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	h.routes.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if h.stopping.Err() != nil {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	if h.opts.Metadata != nil {
		h.routes.HandleFunc("GET "+metadataPath, h.metadata)
		h.routes.HandleFunc("GET "+metadataPath+"/mcp", h.metadata)
	}
}
