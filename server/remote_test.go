package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"ollama-mcp/server"
)

// remote is a server reached over HTTP, and a client of it.
type remote struct {
	t      testing.TB
	server *server.HTTP
	url    string
	http   *http.Client
	http1  *http.Transport
	stop   context.CancelFunc
	served chan error
	opened []*stream
}

// inBubble runs a test with a server in a bubble, which must end without a trace.
func inBubble(t *testing.T, opts server.Options, f func(*testing.T, *remote)) {
	t.Helper()
	inBubbleWith(t, opts, server.HTTPOptions{}, f)
}

func inBubbleWith(t *testing.T, opts server.Options, over server.HTTPOptions, f func(*testing.T, *remote)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := serveInBubble(t, opts, over)
		f(t, r)
		r.end()
	})
}

// pipes is a listener of connections that take no network, for tests in a bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// counted is a listener that counts its open connections, and how often something is sent
// over them.
type counted struct {
	net.Listener
	open, sent atomic.Int64
}

func (l *counted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	counting := countedConn{conn, l, sync.OnceFunc(func() { l.open.Add(-1) })}
	if tcp, ok := conn.(*net.TCPConn); ok {
		return countedTCP{counting, tcp}, nil
	}
	return counting, nil
}

type countedConn struct {
	net.Conn
	listener *counted
	closed   func()
}

func (c countedConn) Write(p []byte) (int, error) {
	c.listener.sent.Add(1)
	return c.Conn.Write(p)
}

func (c countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// countedTCP has what net/http looks for in a connection over TCP.
type countedTCP struct {
	countedConn
	tcp *net.TCPConn
}

func (c countedTCP) CloseWrite() error { return c.tcp.CloseWrite() }

// serveInBubble starts a server that is stopped by remote.end.
func serveInBubble(t testing.TB, opts server.Options, over server.HTTPOptions) *remote {
	t.Helper()
	p := newPipes()
	return serveOn(t, p, p.dial, newServer(t, opts), over)
}

// serveOnSocket starts a server on a port of its own, until the test ends.
func serveOnSocket(t testing.TB, opts server.Options, over server.HTTPOptions) *remote {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	r := serveOn(t, l, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, l.Addr().String())
	}, newServer(t, opts), over)
	t.Cleanup(r.end)
	return r
}

func serveOn(t testing.TB, l net.Listener, dial func(context.Context, string, string) (net.Conn, error), s *server.Server, over server.HTTPOptions) *remote {
	t.Helper()
	h, err := server.NewHTTP(s, over)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 1000, DisableCompression: true}
	ctx, stop := context.WithCancel(context.Background())
	r := &remote{
		t: t, server: h, url: "http://localhost", stop: stop, served: make(chan error, 1),
		http: &http.Client{Transport: transport}, http1: transport,
	}
	go func() { r.served <- h.Serve(ctx, l) }()
	return r
}

func newHTTP(t testing.TB, opts server.Options, over server.HTTPOptions) *server.HTTP {
	t.Helper()
	h, err := server.NewHTTP(newServer(t, opts), over)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// record serves a request without a connection.
func record(h http.Handler, req *http.Request) *httptest.ResponseRecorder {
	a := httptest.NewRecorder()
	h.ServeHTTP(a, req)
	return a
}

// end closes all streams and stops the server, which must have nothing to complain about.
func (r *remote) end() {
	r.t.Helper()
	for _, s := range r.opened {
		s.close()
	}
	r.http1.CloseIdleConnections() // net/http waits five seconds for those that were never used
	r.stop()
	if err := <-r.served; err != nil {
		r.t.Errorf("Serve: %v", err)
	}
	r.http1.CloseIdleConnections()
}

// open calls a tool, and leaves what comes of it unread.
func (r *remote) open(tool, args string) *http.Response {
	r.t.Helper()
	resp, err := r.do(r.t.Context(), "POST", "/mcp", modern(call("1", tool, args)), header(modernHeader("tools/call", tool)...))
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

// header is what every POST of ours brings, and more, as names and values by turns.
func header(more ...string) http.Header {
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	for i := 0; i < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

// do sends a request whose response is to be closed.
func (r *remote) do(ctx context.Context, method, path, body string, h http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = h
	if host := h.Get("Host"); host != "" {
		req.Host = host
	}
	return r.http.Do(req)
}

// dial makes a connection that is not the HTTP client's.
func (r *remote) dial() net.Conn {
	r.t.Helper()
	conn, err := r.http1.DialContext(r.t.Context(), "tcp", "")
	if err != nil {
		r.t.Fatal(err)
	}
	return conn
}

// reply is a response that has been read.
type reply struct {
	*http.Response
	t    testing.TB
	body string
}

func (r *remote) send(method, path, body string, h http.Header) reply {
	r.t.Helper()
	resp, err := r.do(r.t.Context(), method, path, body, h)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Errorf("%s %s: %v", method, path, err)
	}
	return reply{resp, r.t, string(all)}
}

func (r *remote) post(body string, more ...string) reply {
	r.t.Helper()
	return r.send("POST", "/mcp", body, header(more...))
}

// postIn posts a message of a session.
func (r *remote) postIn(session, body string, more ...string) reply {
	r.t.Helper()
	return r.post(body, append(more, "Mcp-Session-Id", session)...)
}

// call calls a tool by the protocol since 2026-07-28.
func (r *remote) call(tool, args string, more ...string) reply {
	r.t.Helper()
	return r.post(modern(call("1", tool, args)), append(modernHeader("tools/call", tool), more...)...)
}

// later is what a request gets that is made meanwhile.
func later(request func() reply) <-chan reply {
	got := make(chan reply, 1)
	go func() { got <- request() }()
	return got
}

// initialize begins a session and returns its id.
func (r *remote) initialize(more ...string) string {
	r.t.Helper()
	a := r.post(initialize, more...)
	id := a.Header.Get("Mcp-Session-Id")
	if a.StatusCode != http.StatusOK || id == "" {
		r.t.Fatalf("initialize: status %d, session %q, %s", a.StatusCode, id, a.body)
	}
	return id
}

// messages are those of a response, be it JSON or a stream.
func (a reply) messages() (all []message) {
	a.t.Helper()
	if a.Header.Get("Content-Type") == "application/json" {
		return []message{parse(a.t, a.body)}
	}
	events := bufio.NewReader(strings.NewReader(a.body))
	for {
		name, data, err := nextEvent(events)
		if err != nil {
			return all
		}
		if name == "message" {
			all = append(all, parse(a.t, data))
		}
	}
}

// message is the first of them.
func (a reply) message() message {
	a.t.Helper()
	all := a.messages()
	if len(all) == 0 {
		a.t.Fatalf("got %d and no message: %s", a.StatusCode, a.body)
	}
	return all[0]
}

// want checks what the first of them says.
func (a reply) want(what, text string) {
	a.t.Helper()
	a.message().want(a.t, what, "", text)
}

func (a reply) wantStatus(what string, status int) {
	a.t.Helper()
	if a.StatusCode != status {
		a.t.Errorf("%s got %d, want %d: %s", what, a.StatusCode, status, a.body)
	}
}

func (a reply) text() string {
	a.t.Helper()
	return a.message().text()
}

// nextEvent reads an event of a stream; a comment has no name.
func nextEvent(r *bufio.Reader) (name, data string, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "":
			return name, data, nil
		case strings.HasPrefix(line, "event: "):
			name = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			data += line[len("data: "):]
		case strings.HasPrefix(line, ":"):
			data = line
		case strings.HasPrefix(line, "retry: "): // how soon to open the stream again
		default:
			return "", "", fmt.Errorf("line %q is of no event", line)
		}
	}
}

// modernHeader is what a message of the protocol since 2026-07-28 needs beside it.
func modernHeader(method, name string) []string {
	h := []string{"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", method}
	if name != "" {
		h = append(h, "Mcp-Name", name)
	}
	return h
}
