package backendtest

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"

	"ollama-mcp/internal/backend/ollama"
)

// wiring serves a host over sockets and pipes.
type wiring struct {
	server  *http.Server
	pipes   pipes
	serving sync.WaitGroup
}

func newWiring(h *Host) *wiring {
	return &wiring{
		server: &http.Server{
			Handler:   http.HandlerFunc(h.serve),
			ConnState: h.connState,
			ErrorLog:  log.New(io.Discard, "", 0), // tests abort connections on purpose
		},
		pipes: pipes{conns: make(chan net.Conn), closed: make(chan struct{})},
	}
}

// Start serves on a TCP address, such as 127.0.0.1:0, until Close, and returns
// the URL.
func (h *Host) Start(addr string) (url string, err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	h.wiring.serving.Go(func() { h.wiring.server.Serve(l) })
	return "http://" + l.Addr().String(), nil
}

// Listen serves on a free port of the loopback address until the test ends, and
// returns the URL.
func (h *Host) Listen(t testing.TB) (url string) {
	t.Helper()
	url, err := h.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return url
}

// Open returns a backend for the host that is connected without a network. Both are
// closed when the test ends.
func (h *Host) Open(t testing.TB) *ollama.Host {
	t.Helper()
	client, err := ollama.New(ollama.Options{Name: h.name, DialContext: h.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		h.Close()
	})
	return client
}

// Dial connects to the host through a pipe, whatever the address. It fits
// DialContext of ollama.Options and http.Transport.
func (h *Host) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if h.isDown() {
		return nil, syscall.ECONNREFUSED
	}
	l := h.wiring
	l.pipes.once.Do(func() { l.serving.Go(func() { l.server.Serve(&l.pipes) }) })
	return l.pipes.dial(ctx)
}

// Close ends all connections and stops serving, for good.
func (h *Host) Close() {
	h.wiring.server.Close()
	h.wiring.serving.Wait()
}

func (h *Host) connState(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		h.change(func() { h.stats.Opened++; h.stats.Open++; h.conns[c] = true })
	case http.StateClosed, http.StateHijacked:
		h.change(func() { h.stats.Open--; delete(h.conns, c) })
	}
}

// pipes is a net.Listener for connections within the program.
type pipes struct {
	once   sync.Once // serves them
	conns  chan net.Conn
	stop   sync.Once
	closed chan struct{}
}

var errClosed = errors.New("listener closed")

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, errClosed
	}
}

func (p *pipes) Close() error {
	p.stop.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
