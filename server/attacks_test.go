package server_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"ollama-mcp/internal/caller"
	"ollama-mcp/server"
)

// Tables of attempts that must fail, on every path that there is: a path that is added joins
// them by itself.

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"}

// everyPath calls f for each path, in the forms in which it is served, and each method.
func everyPath(t *testing.T, h *server.HTTP, f func(method, path string)) {
	t.Helper()
	routes := h.Routes()
	if len(routes) < 5 {
		t.Fatalf("only %d paths are served", len(routes))
	}
	for path := range routes {
		for _, form := range []string{path, path + "/", path + "?sessionId=x"} {
			for _, method := range methods {
				f(method, form)
			}
		}
	}
}

// withEverything adds to the paths of MCP those of another API, of the metrics and of the dashboard.
func withEverything(over server.HTTPOptions) server.HTTPOptions {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
	over.Endpoints, over.Metrics = foreign(nil), page
	over.Dashboard = server.Dashboard{
		Files:   map[string]http.Handler{"": page, "/dashboard/page.js": page},
		Stream:  func(w http.ResponseWriter, _ *http.Request, _ func() bool) { _, _ = io.WriteString(w, "event") },
		Actions: map[string]http.HandlerFunc{"/dashboard/cancel": page},
	}
	return over
}

// request is a request as it would come from a network.
func request(method, path string, h http.Header) *http.Request {
	req := httptest.NewRequest(method, "/", strings.NewReader(modern(call("1", "echo", `{"text":"a"}`))))
	req.URL.Path, req.URL.RawQuery, _ = strings.Cut(path, "?")
	req.Host, req.Header = "localhost", h
	return req
}

func TestNoPathOrMethodIsOpenToOtherHostsAndSites(t *testing.T) {
	h := front(t, withEverything(server.HTTPOptions{AllowedHosts: []string{"gpu.example.com"}, AllowedOrigins: []string{"https://app.example.com"}}))
	type attempt struct {
		host    string
		origins []string
		site    string // Sec-Fetch-Site
	}
	attempts := []attempt{
		{"localhost", nil, "cross-site"},
		{"localhost", nil, "same-site"},
		{"localhost", []string{"https://app.example.com", "https://evil.example"}, ""},
		{"localhost", []string{"https://app.example.com", "https://app.example.com"}, ""},
	}
	for _, host := range []string{
		"", " ", ".", "evil.example", "evil.example:8383", "localhost.evil.example", "evil.example.localhost", "localhost@evil.example", "evil.example#localhost",
		"localhost evil.example", "localhost,evil.example", "localhost/", "localhost\\evil.example", "localhost\x00", "ｌocalhost", "localhoſt", "lοcalhost",
		"127.0.0.1.evil.example", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "[::]", "[::ffff:192.0.2.1]", "10.0.0.1",
		"gpu.example.com.evil.example", "gpu-example.com", "xgpu.example.com", "*", "*.example.com", "null",
	} {
		attempts = append(attempts, attempt{host: host})
	}
	for _, origin := range []string{
		"null", "*", "", "https://evil.example", "http://app.example.com", "https://app.example.com:444", "https://app.example.com.evil.example",
		"https://app.example.com@evil.example", "https://evil.example/https://app.example.com", "https://app.example.com/", "https://app.example.com/path",
		"https://xapp.example.com", "https://app.example.com, https://evil.example", "https://app.example.com\thttps://evil.example",
		"http://localhost:3000", "http://localhost.evil.example", "file://", "chrome-extension://abc", "http://127.0.0.1", "data:", "//localhost", "localhost",
		"https://app․example.com", "https://app.example.com\x00", " https://app.example.com", "javascript://localhost", "ws://localhost",
	} {
		attempts = append(attempts, attempt{"localhost", []string{origin}, ""})
	}
	everyPath(t, h, func(method, path string) {
		for _, a := range attempts {
			req := request(method, path, header(modernHeader("tools/call", "echo")...))
			req.Host, req.Header["Origin"] = a.host, a.origins
			if a.origins == nil {
				req.Header.Del("Origin")
			}
			if a.site != "" {
				req.Header.Set("Sec-Fetch-Site", a.site)
			}
			got := record(h, req)
			if got.Code != http.StatusForbidden || got.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s of %+v: got %d, %v", method, path, a, got.Code, got.Header())
			}
		}
	})
}

// open are the paths that anybody may read: they say whether the server is well, or are the page of the
// dashboard and what asks for a key, without any data. A path that is added is not among them.
var open = []string{"/healthz", "/readyz", "", "/dashboard/page.js", "/dashboard/session"}

func TestEveryPathWantsProofUnlessItIsForEverybody(t *testing.T) {
	over := server.HTTPOptions{Authenticate: byKey(map[string]caller.Caller{"secret": {ID: "ann", Tenant: "ann"}})}
	h := front(t, withEverything(over))
	shapes := [][]string{
		nil,
		{""},
		{"Bearer"},
		{"Bearer "},
		{"Bearer  secret"},
		{"Bearer secret "},
		{"Bearer secret,"},
		{"Bearer secret secret"},
		{"Bearer\tsecret"},
		{"Bearer:secret"},
		{"Bearer=secret"},
		{"Bearersecret"},
		{"secret"},
		{"Basic secret"},
		{"Basic OnNlY3JldA=="},
		{"Digest secret"},
		{"Negotiate secret"},
		{"Token secret"},
		{"Bearer Secret"},
		{"Bearer secre"},
		{"Bearer secrets"},
		{"Bearer sec\x00ret"},
		{"Bearer ſecret"},
		{"Bearer \"secret\""},
		{"Bearer secret\r\nX: y"},
		{"Bearer *"},
		{"Bearer null"},
		{"Bearer undefined"},
		{"Bearer " + strings.Repeat("x", 1<<16)},
		{"Bearer ../secret"},
		{"Bearer ' or 1=1"},
	}
	denied := []int{http.StatusUnauthorized, http.StatusBadRequest, http.StatusForbidden} // the last by what is for pages alone
	everyPath(t, h, func(method, path string) {
		served := slices.Contains(h.Routes()[strings.TrimSuffix(strings.TrimSuffix(path, "?sessionId=x"), "/")], method)
		name := strings.TrimSuffix(strings.TrimSuffix(path, "?sessionId=x"), "/")
		for _, shape := range shapes {
			hd := header(modernHeader("tools/call", "echo")...)
			hd["Authorization"] = shape
			got := record(h, request(method, path, hd))
			switch {
			case !served && got.Code != http.StatusMethodNotAllowed:
				t.Errorf("%s %s: got %d for a method that it has not", method, path, got.Code)
			case served && !slices.Contains(open, name) && !slices.Contains(denied, got.Code):
				t.Errorf("%s %s with %.60q: got %d, %s", method, path, shape, got.Code, got.Body)
			case served && strings.Contains(got.Body.String(), `"result"`):
				t.Errorf("%s %s with %.60q: it was served, %s", method, path, shape, got.Body)
			}
		}
	})
}

// frame is one of HTTP/2.
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	f := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	f = append(f, flags)
	return append(binary.BigEndian.AppendUint32(f, stream), payload...)
}

// literal is a header field of HPACK that is in no table.
func literal(name, value string) []byte {
	field := append([]byte{0, byte(len(name))}, name...)
	return append(append(field, byte(len(value))), value...)
}

// A client that opens streams and resets them at once never exceeds the number of streams
// that it may have, and leaves the server with the work (CVE-2023-44487).
func TestStreamsOfHTTP2ThatAreResetAtOnceCostOthersNothing(t *testing.T) {
	ca := newAuthority(t)
	over := server.HTTPOptions{TLS: ca.files(t)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections := &counted{Listener: l}
	h := newHTTP(t, server.Options{}, over)
	served := make(chan error, 1)
	go func() { served <- h.Serve(t.Context(), connections) }()
	honest := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.trusting(), ForceAttemptHTTP2: true}}
	ask := func() error {
		req, err := http.NewRequest("POST", "https://"+l.Addr().String()+"/mcp", strings.NewReader(modern(call("1", "echo", `{"text":"hi"}`))))
		if err != nil {
			return err
		}
		req.Host, req.Header = "localhost", header(modernHeader("tools/call", "echo")...)
		resp, err := honest.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && !strings.Contains(string(body), `"hi"`) {
			t.Errorf("an honest client got %d, %s", resp.StatusCode, body)
		}
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	goroutines, open := runtime.NumGoroutine(), connections.open.Load()

	config := ca.trusting()
	config.NextProtos = []string{"h2"}
	for range 5 {
		conn, err := tls.Dial("tcp", l.Addr().String(), config)
		if err != nil {
			t.Fatal(err)
		}
		if proto := conn.ConnectionState().NegotiatedProtocol; proto != "h2" {
			t.Fatalf("the protocol is %q", proto)
		}
		go io.Copy(io.Discard, conn) // or the server could not tell that it has had enough
		fields := slices.Concat(literal(":method", "GET"), literal(":scheme", "https"), literal(":path", "/sse"), literal(":authority", "localhost"))
		attack := bytes.NewBufferString("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		attack.Write(frame(4, 0, 0, nil)) // settings
		for stream := uint32(1); stream < 4000; stream += 2 {
			attack.Write(frame(1, 4|1, stream, fields))             // headers, which end the request
			attack.Write(frame(3, 0, stream, []byte{0, 0, 0, 0x8})) // reset
		}
		_, _ = conn.Write(attack.Bytes()) // until the server hangs up
		if err := ask(); err != nil {
			t.Errorf("an honest client got %v", err)
		}
		conn.Close()
	}
	eventually(func() bool { return connections.open.Load() <= open })
	eventually(func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	if err := ask(); err != nil {
		t.Errorf("afterwards an honest client got %v", err)
	}
	honest.CloseIdleConnections()
}
