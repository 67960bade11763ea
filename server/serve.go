package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"ollama-mcp/internal/netserve"
)

const (
	headerTimeout = 10 * time.Second // for a client to send the head of a request, and to agree on TLS
	bodyTimeout   = 20 * time.Second // and each bodyPiece of its body
	idleTimeout   = 2 * time.Minute  // between requests
	maxHeader     = 64 << 10         // bytes
)

// ListenAndServe does what Listen and Serve do.
func (h *HTTP) ListenAndServe(ctx context.Context) error {
	listeners, err := h.Listen()
	if err != nil {
		return err
	}
	return h.Serve(ctx, listeners...)
}

// Listen listens on all addresses of the options, for Serve. It refuses addresses that other
// machines can connect to unless callers need credentials or the options say Insecure.
func (h *HTTP) Listen() (listeners []net.Listener, err error) {
	h.warnOfFewFiles()
	open := h.opts.Insecure || h.opts.Authenticate != nil || h.opts.TLS.ClientCAFile != ""
	for _, address := range h.opts.Listen {
		l, err := h.listen(address, open)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			if errors.Is(err, netserve.ErrNotLocal) {
				err = fmt.Errorf("%w and use the models; listen on 127.0.0.1, or say who may, with --token-file, --oauth-issuer or --tls-client-ca, "+
					"or --insecure if everybody may", err)
			}
			return nil, fmt.Errorf("server: listen on %s: %w", address, err)
		}
		log := h.server.opts.Log.With("network", l.Addr().Network(), "address", l.Addr().String())
		switch {
		case !h.opts.NoMCP:
			log.Info("listening", "tls", h.usesTLS(l))
		case h.opts.Metrics != nil:
			log.Info("serving metrics", "tls", h.usesTLS(l))
		}
		if h.opts.Authenticate != nil && !netserve.IsLocal(l.Addr()) && !h.usesTLS(l) {
			log.Warn("keys and answers travel unencrypted; " +
				"set --tls-cert and --tls-key, or put a TLS proxy in front")
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// fewFiles is the number of files that may be open below which the log says that there are few: a
// client with many sessions opens hundreds of connections.
const fewFiles = 4096

// warnOfFewFiles tells the operator that the system lets the process open few files.
func (h *HTTP) warnOfFewFiles() {
	if conns, files := netserve.MaxConns(); files > 0 && files < fewFiles {
		h.server.opts.Log.Warn("few files may be open at once, and so few connections; raise the limit with ulimit -n, or LimitNOFILE of systemd",
			"files", files, "connections", conns)
	}
}

// peer names who has a connection, by its address. A trusted proxy is "", which may have all
// connections.
func (h *HTTP) peer(remote net.Addr) string {
	addr := parseAddr(remote.String())
	switch {
	case h.trusts(addr, true):
		return ""
	case addr.IsValid():
		return network(addr)
	}
	return cmp.Or(remote.String(), remote.Network())
}

// refusedConn tells the operator, once a minute, that there are too many connections.
func (h *HTTP) refusedConn(peer string, over error) {
	last, now := h.connsWarned.Load(), time.Now().Unix()
	if now-last >= 60 && h.connsWarned.CompareAndSwap(last, now) {
		h.server.opts.Log.Warn("connections are refused: there are too many", "peer", peer, "error", over)
	}
}

// portsToTry is how many ports are tried with the option NextPort.
const portsToTry = 20

func (h *HTTP) listen(address string, open bool) (net.Listener, error) {
	l, err := netserve.Listen(address, open)
	host, port, _ := net.SplitHostPort(address)
	n, notANumber := strconv.Atoi(port)
	if !h.opts.NextPort || notANumber != nil || n == 0 {
		return l, err
	}
	for next := n + 1; errors.Is(err, syscall.EADDRINUSE) && next < n+portsToTry && next <= 65535; next++ {
		l, err = netserve.Listen(net.JoinHostPort(host, strconv.Itoa(next)), open)
	}
	return l, err
}

// usesTLS reports whether connections of a listener use TLS.
func (h *HTTP) usesTLS(l net.Listener) bool {
	return h.certificates != nil && l.Addr().Network() != "unix"
}

// Serve serves what connects to the listeners until ctx ends or one of them fails,
// and closes them. It may be called once.
//
// When ctx ends, /readyz says so, no more requests for anything else are taken, and
// those in flight get Options.Drain to end, or to be cancelled by their clients, before
// they are cancelled. All that Serve started has ended when it returns, but for requests that have not ended
// soon after they were cancelled, which is an error.
func (h *HTTP) Serve(ctx context.Context, listeners ...net.Listener) error {
	if len(listeners) == 0 {
		return errors.New("server: there is no address to listen on")
	}
	srv := h.httpServer()
	failed := make(chan error, len(listeners))
	var accepting sync.WaitGroup
	for _, l := range listeners {
		l = netserve.BoundedListener{Listener: l, Conns: h.conns, Peer: h.peer, Refused: h.refusedConn}
		l = netserve.GatheringListener{Listener: l, Buffers: &h.server.buffers}
		accepting.Go(func() {
			if h.usesTLS(l) {
				failed <- srv.ServeTLS(l, "", "")
			} else {
				failed <- srv.Serve(l)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("server: %w", err)
	}
	late := h.shutDown(srv)
	accepting.Wait()
	h.server.awaitTold()
	return errors.Join(err, late)
}

func (h *HTTP) httpServer() *http.Server {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		HTTP2:       &http.HTTP2Config{WriteByteTimeout: writeTimeout}, // the streams' own do not end their connection
		ErrorLog:    slog.NewLogLogger(h.server.opts.Log.Handler(), slog.LevelWarn),
		ConnContext: netserve.WithConn,
		BaseContext: withListener,
	}
	if h.certificates != nil {
		if h.opts.TLS.ClientCAFile != "" {
			srv.ConnState = h.certified.note
		}
		srv.TLSConfig = &tls.Config{GetConfigForClient: h.certificates.ForClient, MinVersion: tls.VersionTLS12}
	}
	return srv
}

// shutDown ends everything that srv serves. It goes on accepting connections while requests
// are in flight, so that /readyz says why others are refused.
func (h *HTTP) shutDown(srv *http.Server) error {
	h.stop()
	idle := h.close()
	within(h.server.opts.Drain, idle)
	h.kill(errStopping)

	ctx, cancel := context.WithTimeout(context.Background(), cancelGrace)
	defer cancel()
	_ = srv.Shutdown(ctx) // what has not ended by then is cut off
	srv.Close()
	if !within(cancelGrace, idle) {
		return errors.New("server: there are requests that did not end when cancelled")
	}
	return nil
}

// within waits until done is closed, but not longer than limit, and reports whether
// it is.
func within(limit time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
