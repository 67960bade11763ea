package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"ollama-mcp/internal/caller"
	"ollama-mcp/server"
)

func TestMetricsAreForThisMachineAndForAdministrators(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "numbers") })
	keys := func(req *http.Request) (caller.Caller, error) {
		switch req.Header.Get("Authorization") {
		case "Bearer admin":
			return caller.Caller{ID: "admin", Admin: true}, nil
		case "Bearer user":
			return caller.Caller{ID: "user"}, nil
		}
		return caller.Caller{}, &caller.Denied{Message: "a key is needed"}
	}
	for _, tt := range []struct {
		name     string
		keys     bool
		insecure bool
		here     bool // the request comes by a listener on loopback
		header   [2]string
		want     int
	}{
		{"this machine", false, false, true, [2]string{}, 200},
		{"this machine, with keys", true, false, true, [2]string{}, 200},
		{"a proxy on this machine", false, false, true, [2]string{"X-Forwarded-For", "203.0.113.7"}, 403},
		{"a proxy on this machine, with keys", true, false, true, [2]string{"X-Forwarded-For", "203.0.113.7"}, 401},
		{"another machine, no key", true, false, false, [2]string{}, 401},
		{"another machine, a key", true, false, false, [2]string{"Authorization", "Bearer user"}, 403},
		{"another machine, an administrator's key", true, false, false, [2]string{"Authorization", "Bearer admin"}, 200},
		{"another machine, insecure", false, true, false, [2]string{}, 200},
		{"another machine, insecure with keys", true, true, false, [2]string{}, 401},
	} {
		o := server.HTTPOptions{Metrics: page, Insecure: tt.insecure}
		if tt.keys {
			o.Authenticate = keys
		}
		h := front(t, o)
		req := httptest.NewRequest("GET", "/metrics", nil)
		req.Host, req.RemoteAddr = "localhost", "127.0.0.1:5000"
		if tt.header[0] != "" {
			req.Header.Set(tt.header[0], tt.header[1])
		}
		at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
		if !tt.here {
			at.IP = net.IPv4zero
			req.RemoteAddr = "203.0.113.7:5000"
		}
		req = req.WithContext(server.WithListenerAt(context.Background(), at))
		if a := record(h, req); a.Code != tt.want || (a.Body.String() == "numbers") != (tt.want == 200) {
			t.Errorf("%s: got %d %s, want %d", tt.name, a.Code, a.Body, tt.want)
		}
	}
}

func TestAddressForMetricsHasNoEndpointOfMCP(t *testing.T) {
	h := front(t, server.HTTPOptions{Metrics: http.NotFoundHandler(), NoMCP: true})
	for path, want := range map[string]int{"/mcp": 404, "/sse": 404, "/message": 404, "/healthz": 200} {
		if a := try(h, "GET", path, "localhost", ""); a.Code != want {
			t.Errorf("%s: got %d, want %d", path, a.Code, want)
		}
	}
	if a := try(front(t, server.HTTPOptions{}), "GET", "/metrics", "localhost", ""); a.Code != 404 {
		t.Errorf("without metrics: got %d, want 404", a.Code)
	}
}

func TestReadinessTellsAdministratorsWhatIsWrong(t *testing.T) {
	keys := func(req *http.Request) (caller.Caller, error) {
		if key := req.Header.Get("Authorization"); key != "" {
			return caller.Caller{ID: key, Admin: key == "Bearer admin"}, nil
		}
		return caller.Caller{}, &caller.Denied{Message: "a key is needed"}
	}
	wrong := errors.New("no host can answer")
	for _, tc := range []struct {
		accept, key string
		err         error
		status      int
		want        string
	}{
		{"", "", nil, 200, "ok\n"},
		{"", "Bearer admin", wrong, 503, "no host can answer\n"},
		{"application/json", "", nil, 200, `{"ready":true}`},
		{"application/json", "Bearer user", wrong, 503, `{"ready":false,"reason":"no host can answer"}`},
		{"application/json", "Bearer admin", wrong, 503, `{"ready":false,"reason":"no host can answer","details":["gpu-1: refused"]}`},
	} {
		h := front(t, server.HTTPOptions{Authenticate: keys, Ready: func() error { return tc.err }, Reasons: func() []string { return []string{"gpu-1: refused"} }})
		req := httptest.NewRequest("GET", "/readyz", nil)
		req.Host, req.RemoteAddr = "localhost", "203.0.113.7:5000"
		req.Header.Set("Accept", tc.accept)
		if tc.key != "" {
			req.Header.Set("Authorization", tc.key)
		}
		req = req.WithContext(server.WithListenerAt(context.Background(), &net.TCPAddr{IP: net.IPv4zero, Port: 1}))
		if a := record(h, req); a.Code != tc.status || a.Body.String() != tc.want {
			t.Errorf("%+v: got %d %q", tc, a.Code, a.Body)
		}
	}
}
