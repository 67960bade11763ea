package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// HTTPOptions describe how a server is reached over HTTP. Zero fields take the
// defaults given with them.
type HTTPOptions struct {
	// Listen is where to listen: host:port, or unix:PATH for a socket that only
	// its owner may use. Only ListenAndServe needs it.
	Listen []string

	// Insecure allows to listen where other machines can connect.
	Insecure bool

	// AllowedHosts are names or addresses, without ports, by which clients may
	// call the server, besides those of the loopback interface and the address
	// that the connection came in by.
	AllowedHosts []string

	// AllowedOrigins are the web sites, such as https://example.com, whose pages
	// may use the server. None may without it.
	AllowedOrigins []string

	MaxSessions int           // clients that are remembered, and open streams of SSE; 0 means 10,000
	SessionIdle time.Duration // after which a client is forgotten; 0 means an hour
}

// HTTP serves the Model Context Protocol over HTTP: streamable HTTP at /mcp, and
// HTTP with SSE, as it was until 2025, at /sse and /message. /healthz says that
// the process is alive, /readyz that it takes requests. Use NewHTTP to make one.
type HTTP struct {
	server  *Server
	opts    HTTPOptions
	hosts   map[string]bool
	origins map[string]bool
	routes  *http.ServeMux

	gate                  // for requests and streams
	inWork   atomic.Int64 // requests to /mcp
	sessions sessions
	streams  streams

	// life is that of all requests to /mcp. Its cause says why they had to end.
	life context.Context
	kill context.CancelCauseFunc

	// stopping ends when no more requests are taken.
	stopping context.Context
	stop     context.CancelFunc
}

const (
	headerTimeout = 10 * time.Second // for a client to send the head of a request
	bodyTimeout   = time.Minute      // and its body
	idleTimeout   = 2 * time.Minute  // between requests
	maxHeader     = 64 << 10         // bytes
)

// NewHTTP checks the options, and names the one that is wrong.
func NewHTTP(s *Server, opts HTTPOptions) (*HTTP, error) {
	if opts.MaxSessions == 0 {
		opts.MaxSessions = 10_000
	}
	if opts.SessionIdle == 0 {
		opts.SessionIdle = time.Hour
	}
	switch {
	case opts.MaxSessions < 0:
		return nil, fmt.Errorf("server: option MaxSessions is %d, less than 0", opts.MaxSessions)
	case opts.SessionIdle < 0:
		return nil, fmt.Errorf("server: option SessionIdle is %v, less than 0", opts.SessionIdle)
	}
	h := &HTTP{server: s, opts: opts, routes: http.NewServeMux()}
	if err := h.allow(opts); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	h.sessions.max, h.sessions.idle = opts.MaxSessions, opts.SessionIdle
	h.life, h.kill = context.WithCancelCause(context.Background())
	h.stopping, h.stop = context.WithCancel(context.Background())

	h.routes.HandleFunc("POST /mcp", h.counted(h.post))
	h.routes.HandleFunc("DELETE /mcp", h.deleteSession)
	h.routes.HandleFunc("GET /sse", h.counted(h.openStream))
	h.routes.HandleFunc("POST /message", h.counted(h.streamMessage))
	h.routes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	h.routes.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if h.stopping.Err() != nil {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return h, nil
}

// counted serves requests until the server stops, which waits for them.
func (h *HTTP) counted(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if !h.enter() {
			refuse(w, http.StatusServiceUnavailable, rpcError(nil, codeOverloaded, errStopping.Error(), retry("overloaded", true)))
			return
		}
		defer h.leave()
		serve(w, req)
	}
}

// ListenAndServe listens on all addresses of the options, and then is as Serve.
func (h *HTTP) ListenAndServe(ctx context.Context) error {
	var listeners []net.Listener
	for _, address := range h.opts.Listen {
		l, err := listen(address, h.opts.Insecure)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return fmt.Errorf("server: listen on %s: %w", address, err)
		}
		h.server.opts.Log.Info("listening", "network", l.Addr().Network(), "address", l.Addr().String())
		listeners = append(listeners, l)
	}
	return h.Serve(ctx, listeners...)
}

// Serve serves what connects to the listeners until ctx ends or one of them fails,
// and closes them. It may be called once.
//
// When ctx ends, /readyz says so, no more connections and requests are taken, and
// those in flight get Options.Drain to end before they are cancelled. All that
// Serve started has ended when it returns, but for requests that have not ended
// soon after they were cancelled, which is an error.
func (h *HTTP) Serve(ctx context.Context, listeners ...net.Listener) error {
	if len(listeners) == 0 {
		return errors.New("server: there is no address to listen on")
	}
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(h.server.opts.Log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, len(listeners))
	var accepting sync.WaitGroup
	for _, l := range listeners {
		accepting.Go(func() { failed <- srv.Serve(l) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("server: %w", err)
	}
	late := h.shutDown(srv)
	accepting.Wait()
	return errors.Join(err, late)
}

// shutDown ends all that srv serves.
func (h *HTTP) shutDown(srv *http.Server) error {
	h.stop()
	idle := h.close()
	if !closed(srv, h.server.opts.Drain) {
		h.kill(errStopping)
		closed(srv, lastWords)
	}
	h.kill(errStopping)
	srv.Close()
	late := time.NewTimer(lastWords)
	defer late.Stop()
	select {
	case <-idle:
		return nil
	case <-late.C:
		return errors.New("server: there are requests that did not end when cancelled")
	}
}

// closed has srv take no more connections, and reports whether all that there
// are have ended in time.
func closed(srv *http.Server, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return srv.Shutdown(ctx) == nil
}
