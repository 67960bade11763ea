package server_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"ollama-mcp/internal/caller"
	"ollama-mcp/server"
)

// addressed is a listener at an address of choice, whose peers have one of choice too.
type addressed struct {
	*pipes
	at, peer net.Addr
}

func (a addressed) Addr() net.Addr { return a.at }

func (a addressed) Accept() (net.Conn, error) {
	conn, err := a.pipes.Accept()
	return addressedConn{conn, a}, err
}

type addressedConn struct {
	net.Conn
	listener addressed
}

func (c addressedConn) LocalAddr() net.Addr  { return c.listener.at }
func (c addressedConn) RemoteAddr() net.Addr { return c.listener.peer }

func tcp(address string) net.Addr {
	ip := net.ParseIP(address)
	if ip == nil {
		return &net.UnixAddr{Name: address, Net: "unix"}
	}
	return &net.TCPAddr{IP: ip, Port: 4711}
}

// serveFrom serves callers without credentials at one address, who connect from another.
func serveFrom(t *testing.T, at, peer string, opts server.Options, over server.HTTPOptions, f func(r *remote)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		r := serveOn(t, addressed{p, tcp(at), tcp(peer)}, p.dial, newServer(t, opts), over)
		f(r)
		r.end()
	})
}

func TestOnlyLocalRequestsThatNoProxyForwardedAreAnAdministrators(t *testing.T) {
	for _, tt := range []struct {
		what     string
		at, peer string
		header   []string
		trusted  []string
		admin    bool
	}{
		{what: "loopback", at: "127.0.0.1", peer: "127.0.0.1", admin: true},
		{what: "loopback, IPv6", at: "::1", peer: "::1", header: []string{"Host", "[::1]:8383"}, admin: true},
		{what: "a Unix socket", at: "@", peer: "@", admin: true},
		{what: "headers of clients", at: "127.0.0.1", peer: "127.0.0.1", admin: true, header: []string{
			"User-Agent", "node", "Traceparent", "00-1-2-00", "X-Request-Id", "7", "Accept-Language", "*", "Sec-Fetch-Mode", "cors",
			"Mcp-Param-Remote-Name", "x",
		}},
		{what: "a listener that others reach", at: "0.0.0.0", peer: "127.0.0.1"},
		{what: "another machine", at: "0.0.0.0", peer: "192.0.2.1"},
		{what: "a name that proxies keep", at: "127.0.0.1", peer: "127.0.0.1", header: []string{"Host", "gpu.example.com"}},
		{what: "a trusted proxy", at: "127.0.0.1", peer: "127.0.0.1", trusted: []string{"127.0.0.0/8"}},
		{what: "a trusted proxy by a socket", at: "@", peer: "@", trusted: []string{"unix"}},
		{what: "a trusted proxy for this machine", at: "127.0.0.1", peer: "127.0.0.1", trusted: []string{"127.0.0.1"}, header: []string{"X-Forwarded-For", "127.0.0.1"}},
	} {
		over := server.HTTPOptions{Insecure: true, AllowedHosts: []string{"gpu.example.com"}, TrustedProxies: tt.trusted}
		serveFrom(t, tt.at, tt.peer, with(whoami()), over, func(r *remote) {
			if got := r.call("whoami", "{}", tt.header...).text(); strings.Contains(got, "admin=true") != tt.admin {
				t.Errorf("%s: got %q, want admin=%v", tt.what, got, tt.admin)
			}
		})
	}
}

func TestHeaderOfAProxyTakesTheAdministratorsRights(t *testing.T) {
	serveFrom(t, "127.0.0.1", "127.0.0.1", with(whoami()), server.HTTPOptions{}, func(r *remote) {
		session := r.initialize()
		for _, name := range []string{
			"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded",
			"Forwarded-For", "X-Real-IP", "CF-Connecting-IP", "CF-Ray", "Cdn-Loop", "True-Client-IP", "Client-IP", "X-Client-IP", "X-Cluster-Client-IP",
			"Fastly-Client-IP", "Fly-Client-IP", "X-Original-Forwarded-For", "X-Original-Host", "X-Originating-IP", "X-Remote-Addr", "X-Remote-IP",
			"X-Envoy-External-Address", "X-Envoy-Expected-Rq-Timeout-Ms", "X-Amzn-Trace-Id", "X-Azure-ClientIP", "X-Azure-SocketIP",
			"X-ProxyUser-Ip", "Proxy-Connection", "Tailscale-User-Login", "X-Vercel-Id", "CloudFront-Viewer-Address",
		} {
			for era, got := range map[string]string{
				"modern": r.call("whoami", "{}", name, "").text(),
				"legacy": r.postIn(session, callWhoami, name, "").text(),
			} {
				if !strings.Contains(got, "admin=false") {
					t.Errorf("%s, %s: got %q", era, name, got)
				}
			}
		}
		// The stream belongs to who opened it; rights are those of each message.
		s := r.openStream()
		s.say(callWhoami, "X-Real-IP", "192.0.2.1")
		if got := s.next().text(); !strings.Contains(got, "admin=false") {
			t.Errorf("SSE: got %q", got)
		}
	})
}

func TestAdministratorsRightsOfAKeyPassProxies(t *testing.T) {
	opts := server.HTTPOptions{Authenticate: byKey(map[string]caller.Caller{"root": {ID: "root", Tenant: "root", Admin: true}})}
	serveFrom(t, "127.0.0.1", "127.0.0.1", with(whoami()), opts, func(r *remote) {
		got := r.call("whoami", "{}", append(as("root"), "X-Forwarded-For", "192.0.2.1")...).text()
		if !strings.Contains(got, "id=root") || !strings.Contains(got, "admin=true") {
			t.Errorf("got %q", got)
		}
	})
}

func TestCallerWithoutCredentialsGoesByTheAddress(t *testing.T) {
	two := []string{"10.0.0.0/8", "192.0.2.9"}
	for _, tt := range []struct {
		peer      string
		forwarded []string // values of X-Forwarded-For
		trusted   []string
		want      string
	}{
		{"192.0.2.1", nil, nil, "192.0.2.1"},
		{"::ffff:192.0.2.1", nil, nil, "192.0.2.1"},
		{"2001:db8:1:2:3:4:5:6", nil, nil, "2001:db8:1:2::/64"}, // one machine has them all
		{"fd00::1", nil, nil, "fd00::1"},
		{"192.0.2.1", []string{"198.51.100.1"}, nil, "192.0.2.1"},
		{"192.0.2.1", []string{"198.51.100.1"}, two, "192.0.2.1"},
		{"10.1.1.1", []string{"198.51.100.1"}, two, "198.51.100.1"},
		{"10.1.1.1", []string{"6.6.6.6, 198.51.100.1"}, two, "198.51.100.1"}, // the client made up the first
		{"10.1.1.1", []string{"6.6.6.6", "198.51.100.1"}, two, "198.51.100.1"},
		{"10.1.1.1", []string{"6.6.6.6, 198.51.100.1,192.0.2.9 , 10.2.2.2"}, two, "198.51.100.1"},
		{"10.1.1.1", []string{"198.51.100.1:5000, 10.2.2.2:80"}, two, "198.51.100.1"},
		{"10.1.1.1", []string{"[2001:db8::1]:5000"}, two, "2001:db8::/64"},
		{"10.1.1.1", []string{"2001:db8::1"}, two, "2001:db8::/64"},
		{"10.1.1.1", []string{"::ffff:198.51.100.1"}, two, "198.51.100.1"},
		{"10.1.1.1", []string{"6.6.6.6, unknown, 10.2.2.2"}, two, "10.2.2.2"},
		{"10.1.1.1", []string{"10.3.3.3, 10.2.2.2"}, two, "10.3.3.3"},
		{"10.1.1.1", []string{""}, two, "10.1.1.1"},
		{"10.1.1.1", nil, two, "10.1.1.1"},
		{"@", []string{"198.51.100.1"}, nil, "unix"},
		{"@", []string{"198.51.100.1"}, []string{"unix"}, "198.51.100.1"},
		{"@", nil, []string{"unix"}, "unix"},
	} {
		at := "0.0.0.0"
		if tt.peer == "@" {
			at = "@"
		}
		serveFrom(t, at, tt.peer, with(whoami()), server.HTTPOptions{TrustedProxies: tt.trusted}, func(r *remote) {
			h := header(modernHeader("tools/call", "whoami")...)
			if tt.forwarded != nil {
				h["X-Forwarded-For"] = tt.forwarded
			}
			got := r.send("POST", "/mcp", modern(callWhoami), h).text()
			if !strings.HasPrefix(got, "id="+tt.want+" tenant= ") {
				t.Errorf("%s, for %q, trusting %q: got %q, want id %q", tt.peer, tt.forwarded, tt.trusted, got, tt.want)
			}
		})
	}
}

func TestLocalCallersGoByTheNameOfTheirClient(t *testing.T) {
	named := func(name string) string {
		return strings.Replace(modern(callWhoami), `{"name":"t",`, `{"name":"`+name+`",`, 1)
	}
	from := func(peer string) map[string]string {
		got := make(map[string]string)
		at := "127.0.0.1"
		if peer != at {
			at = "0.0.0.0"
		}
		serveFrom(t, at, peer, with(whoami()), server.HTTPOptions{}, func(r *remote) {
			session := r.initialize() // by a client named t
			s := r.openStream()
			s.say(callWhoami)
			got["stream before it is introduced"] = s.next().text()
			s.say(initialize)
			s.next()
			s.say(callWhoami)
			got["stream"] = s.next().text()
			got["legacy"] = r.postIn(session, callWhoami).text()
			modern := modernHeader("tools/call", "whoami")
			got["modern"] = r.post(named("agent"), modern...).text()
			got["odd"] = r.post(named(` a\ngent\u202e`+strings.Repeat("x", 100)), modern...).text()
			got["nameless"] = r.post(named(""), modern...).text()
		})
		return got
	}
	local, far := from("127.0.0.1"), from("192.0.2.1")
	for what, want := range map[string]string{
		"stream before it is introduced": "local", "stream": "local t", "legacy": "local t", "modern": "local agent",
		"odd": "local agent" + strings.Repeat("x", 54), "nameless": "local",
	} {
		if got := local[what]; !strings.HasPrefix(got, "id="+want+" tenant=") {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
		if got := far[what]; !strings.HasPrefix(got, "id=192.0.2.1 tenant=") {
			t.Errorf("%s from elsewhere: got %q", what, got)
		}
	}
}

func TestProxyThatIsNotTrustedIsToldOfOnce(t *testing.T) {
	var log bytes.Buffer
	opts := with(whoami())
	opts.Log = logTo(&log)
	serveFrom(t, "127.0.0.1", "127.0.0.1", opts, server.HTTPOptions{}, func(r *remote) {
		r.call("whoami", "{}")
		if strings.Contains(log.String(), "--trust-proxy") {
			t.Errorf("without a proxy the log says %s", &log)
		}
		for range 2 {
			r.call("whoami", "{}", "Via", "1.1 nginx")
		}
		if n := strings.Count(log.String(), "--trust-proxy"); n != 1 {
			t.Errorf("%d times in the log: %s", n, &log)
		}
	})
}

func TestTrustedProxiesAreAddressesOrNetworks(t *testing.T) {
	for _, name := range []string{"", "proxy", "10.0.0.0/33", "10.0.0.1:80", "*"} {
		if _, err := server.NewHTTP(newServer(t, server.Options{}), server.HTTPOptions{TrustedProxies: []string{name}}); err == nil || !strings.Contains(err.Error(), "trusted proxy") {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func TestCallersWithoutCredentialsShareNoPlacesOfOthers(t *testing.T) {
	over := server.HTTPOptions{MaxStreams: 8, TrustedProxies: []string{"10.0.0.0/8"}}
	serveFrom(t, "0.0.0.0", "10.1.1.1", with(whoami()), over, func(r *remote) {
		greedy, other := []string{"X-Forwarded-For", "192.0.2.1"}, []string{"X-Forwarded-For", "192.0.2.2"}
		session := r.initialize(other...)
		for range 20 {
			r.initialize(greedy...)
		}
		r.postIn(session, callWhoami, other...).wantStatus("the session of another", 200)
		for range 2 {
			r.openStream(greedy...)
		}
		ctx, stop := context.WithCancel(r.t.Context())
		defer stop()
		resp, err := r.do(ctx, "GET", "/sse", "", header(greedy...))
		if err != nil || resp.StatusCode != 503 {
			t.Errorf("a third stream got %v, %v", resp, err)
		} else {
			resp.Body.Close()
		}
		r.openStream(other...)
	})
}
