package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/netserve"
	"ollama-mcp/internal/share"
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
	// found out at the moment. It is called concurrently. EndRevoked has to be called after
	// callers that it returned have become invalid. If it is nil, callers need no
	// credentials.
	Authenticate func(*http.Request) (caller.Caller, error)

	// Challenge returns the WWW-Authenticate header for a refused request. If it is nil, the
	// header is "Bearer".
	Challenge func(*http.Request, *caller.Denied) string

	// Metadata returns the JSON document at a path that begins with MetadataPath, which tells
	// clients where to get a token (RFC 9728), or nil if there is none. The documents are
	// public. If it is nil, there are none.
	Metadata func(path string) []byte

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

	// SessionKey signs the ids of sessions. Servers with the same key take each other's, so
	// that clients of protocols before 2026-07-28 notice no restart, and several servers may
	// share a load. It must be secret. If it is empty, a random one is made.
	SessionKey []byte

	// Ready says why the server cannot answer at the moment, for /readyz; nil if it can, as
	// far as it knows without asking anybody. It is called concurrently, and must not block.
	// If it is nil, the server is ready as long as it takes requests.
	Ready func() error

	// Reasons says what is wrong with hosts and providers, in a line each, for administrators who
	// ask /readyz for JSON. It is called concurrently, and must not block. nil says nothing.
	Reasons func() []string

	// Metrics is served at /metrics, to processes of this machine and to administrators, and
	// if the options say Insecure and callers need no credentials, to everybody. If it is nil,
	// there is no such path.
	Metrics http.Handler
	// Dashboard is served at / and below /dashboard/; the zero Dashboard is none.
	Dashboard Dashboard
	// NextPort has a port that is in use replaced by the next free one, as far as 20 ports above.
	NextPort bool
	// NoMCP leaves out the endpoints of MCP.
	NoMCP bool
	// Endpoints are those of other APIs, at paths that nothing else has.
	Endpoints []Endpoint

	MaxStreams int // SSE streams at once; 0 means 10,000
	// MaxConns are the connections at once, of which a client, by its address, may have as many as
	// are still free; 0 means 16,384, or three quarters of the files that may be open if that is less.
	MaxConns int
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
	conns        *share.Limit       // by the addresses of clients
	connsWarned  atomic.Int64       // when the log was last told that there are too many; Unix time in seconds
	routes       map[string]methods // by path, without a slash at its end
	patterns     []pattern          // among the routes
	foreign      map[string]fail    // how endpoints of other APIs report errors, by path likewise

	gate      // for requests and streams
	sessions  sessions
	streams   streams
	logins    logins    // of the dashboard
	revocable revocable // requests of callers whose credentials may be revoked
	certified certified

	// life is the context of all requests to /mcp. Its cause says why they had to end.
	life context.Context
	kill context.CancelCauseFunc

	// stopping ends when the server takes no more requests.
	stopping context.Context
	stop     context.CancelFunc
}

// NewHTTP checks the options, and names the one that is wrong.
func NewHTTP(s *Server, opts HTTPOptions) (*HTTP, error) {
	if opts.MaxStreams == 0 {
		opts.MaxStreams = 10_000
	}
	if len(opts.SessionKey) == 0 {
		opts.SessionKey = []byte(rand.Text())
	}
	if opts.MaxConns == 0 {
		opts.MaxConns, _ = netserve.MaxConns()
	}
	h := &HTTP{server: s, opts: opts, conns: share.New(int64(opts.MaxConns))}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	h.sessions.key = opts.SessionKey
	h.life, h.kill = context.WithCancelCause(context.Background())
	h.stopping, h.stop = context.WithCancel(context.Background())
	h.route()
	return h, nil
}

// check validates the options, and sets what they become.
func (h *HTTP) check() error {
	if h.opts.MaxStreams < 0 {
		return fmt.Errorf("option MaxStreams is %d, less than 0", h.opts.MaxStreams)
	}
	if h.opts.MaxConns < 0 {
		return fmt.Errorf("option MaxConns is %d, less than 0", h.opts.MaxConns)
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

// methods are what a path does, by the method of the request.
type methods map[string]http.HandlerFunc

func (h *HTTP) route() {
	alive := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }
	h.routes = map[string]methods{
		"/mcp":     {http.MethodPost: h.authenticated((*exchange).post), http.MethodDelete: h.authenticated((*exchange).deleteSession)},
		"/sse":     {http.MethodGet: h.authenticated((*exchange).openStream)},
		"/message": {http.MethodPost: h.authenticated((*exchange).streamMessage)},
		"/healthz": {http.MethodGet: alive, http.MethodHead: alive},
		"/readyz":  {http.MethodGet: h.tellReady, http.MethodHead: h.tellReady},
	}
	if h.opts.NoMCP {
		for _, path := range []string{"/mcp", "/sse", "/message"} {
			delete(h.routes, path)
		}
	}
	h.routeEndpoints()
	if h.opts.Metrics != nil {
		serve := h.forAdministrators(h.opts.Metrics)
		h.routes["/metrics"] = methods{http.MethodGet: serve, http.MethodHead: serve}
	}
	h.routeDashboard()
}

// tellReady says whether the server can answer, and administrators who ask for JSON also what is
// wrong with hosts and providers.
func (h *HTTP) tellReady(w http.ResponseWriter, req *http.Request) {
	why := ""
	if h.stopping.Err() != nil {
		why = "stopping"
	} else if h.opts.Ready != nil {
		if err := h.opts.Ready(); err != nil {
			why = err.Error()
		}
	}
	if strings.Contains(req.Header.Get("Accept"), "application/json") {
		h.tellReasons(w, req, why)
		return
	}
	if why != "" {
		http.Error(w, why, http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (h *HTTP) tellReasons(w http.ResponseWriter, req *http.Request, why string) {
	said := struct {
		Ready   bool     `json:"ready"`
		Reason  string   `json:"reason,omitempty"`
		Details []string `json:"details,omitempty"`
	}{Ready: why == "", Reason: why}
	if h.opts.Reasons != nil && h.isAdministrator(req) {
		said.Details = h.opts.Reasons()
	}
	text, _ := json.Marshal(said) // cannot fail: it is text
	status := http.StatusOK
	if why != "" {
		status = http.StatusServiceUnavailable
	}
	beginJSON(w, status, len(text))
	_, _ = w.Write(text) // if it cannot, nobody is left to be told
}

// serveRoute serves a request whose Host and Origin have been checked. Clients parse what they
// get for paths that do not exist, such as those of an authorization server, as JSON.
func (h *HTTP) serveRoute(w http.ResponseWriter, req *http.Request) {
	path := h.routeOf(req.URL.Path)
	methods := h.routes[path]
	if h.opts.Metadata != nil && strings.HasPrefix(path, MetadataPath) && h.opts.Metadata(path) != nil {
		methods = h.metadata()
	}
	switch serve := methods[req.Method]; {
	case serve != nil:
		serve(w, req)
	case methods != nil:
		w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(methods)), ", "))
		h.failure(path)(w, http.StatusMethodNotAllowed, "method_not_allowed", fmt.Sprintf("%s does not take %.20q", path, req.Method))
	case strings.HasPrefix(path, "//") && h.foreign[single(path)] != nil:
		// A client's base address ends with a slash. What a proxy forbids is not served under another
		// path, so the client has to ask anew.
		http.Redirect(w, req, single(path), http.StatusTemporaryRedirect)
	case h.opts.NoMCP && h.opts.Metrics != nil:
		writeError(w, http.StatusNotFound, "not_found", "there is nothing here; the metrics are at /metrics")
	case h.opts.NoMCP:
		writeError(w, http.StatusNotFound, "not_found", "there is nothing here; the dashboard is at /")
	case len(h.opts.Endpoints) == 0 && (strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/v1/")):
		writeError(w, http.StatusNotFound, "not_found", "there is nothing here; the server has the APIs of Ollama and OpenAI with --gateway")
	default:
		writeError(w, http.StatusNotFound, "not_found", "there is nothing here; MCP is at /mcp, and for older clients at /sse")
	}
}

// single is a path with one slash at its beginning.
func single(path string) string { return "/" + strings.TrimLeft(path, "/") }

// withoutSlash is a path without a slash at its end, which many clients and proxies add.
func withoutSlash(path string) string { return strings.TrimSuffix(path, "/") }
