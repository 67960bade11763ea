package server_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/server"
)

func TestOnlyKnownPathsAndMethodsAreServed(t *testing.T) {
	h := front(t, server.HTTPOptions{})
	for _, tt := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/healthz", 200, ""},
		{"GET", "/readyz", 200, ""},
		{"GET", "/", 404, ""},
		{"POST", "/mcp/x", 404, ""},
		{"POST", "/mcp//", 404, ""},
		{"GET", "//healthz", 404, ""},
		{"GET", "/healthz/", 200, ""},
		{"GET", "/mcp/", 405, "DELETE, POST"},
		{"POST", "/sse/", 405, "GET"},
		{"POST", "/register", 404, ""},
		{"GET", "/.well-known/oauth-authorization-server", 404, ""},
		{"GET", "/.well-known/oauth-authorization-server/mcp", 404, ""},
		{"GET", "/.well-known/openid-configuration", 404, ""},
		{"GET", "/mcp/.well-known/openid-configuration", 404, ""},
		{"GET", "/.well-known/oauth-protected-resource", 404, ""},
		{"PATCH", "/.well-known/anything", 404, ""},
		{"GET", "/mcp", 405, "DELETE, POST"},
		{"PUT", "/mcp", 405, "DELETE, POST"},
		{"OPTIONS", "/mcp", 405, "DELETE, POST"},
		{"POST", "/sse", 405, "GET"},
		{"HEAD", "/sse", 405, "GET"},
		{"GET", "/message", 405, "POST"},
		{"POST", "/healthz", 405, "GET, HEAD"},
	} {
		a := try(h, tt.method, tt.path, "localhost:8383", "")
		if a.Code != tt.status || a.Header().Get("Allow") != tt.allow {
			t.Errorf("%s %s: got %d, Allow %q; want %d, %q", tt.method, tt.path, a.Code, a.Header().Get("Allow"), tt.status, tt.allow)
		}
		var body struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		if err := json.Unmarshal(a.Body.Bytes(), &body); tt.status >= 400 &&
			(err != nil || body.Error == "" || body.Description == "" || a.Header().Get("Content-Type") != "application/json") {
			t.Errorf("%s %s: got %v, %s", tt.method, tt.path, a.Header(), a.Body)
		}
	}
}

func TestPathOfAnAPIThatIsNotServedNamesTheOptionThatServesIt(t *testing.T) {
	without, with := front(t, server.HTTPOptions{}), front(t, server.HTTPOptions{Endpoints: foreign(nil)})
	for path, want := range map[string]bool{"/api/tags": true, "/v1/models": true, "/v1/": false, "/apis": false, "/other": false} {
		if a := try(without, "GET", path, "localhost", ""); a.Code != 404 || strings.Contains(a.Body.String(), "--gateway") != want {
			t.Errorf("%s: got %d, %s", path, a.Code, a.Body)
		}
		if a := try(with, "GET", path, "localhost", ""); a.Code != 404 || strings.Contains(a.Body.String(), "--gateway") {
			t.Errorf("%s of a server that serves another API: got %d, %s", path, a.Code, a.Body)
		}
	}
}

func TestPathsMayEndInASlash(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		a := r.send("POST", "/mcp/", initialize, header())
		session := a.Header.Get("Mcp-Session-Id")
		a.wantStatus("initialize", 200)
		r.send("POST", "/mcp/", call("1", "echo", `{"text":"a"}`), header("Mcp-Session-Id", session)).want("a call", "a")
		r.send("DELETE", "/mcp/", "", header("Mcp-Session-Id", session)).wantStatus("the end", 204)
	})
}

func TestRequestsThatAPageMakesABrowserSendAreRefusedWithoutOriginToo(t *testing.T) {
	h := front(t, server.HTTPOptions{AllowedOrigins: []string{"https://app.example.com"}})
	for _, tt := range []struct {
		site    []string
		origin  string
		refused bool
	}{
		{[]string{"cross-site"}, "", true},
		{[]string{"same-site"}, "", true}, // another port of this machine
		{[]string{"none", "cross-site"}, "", true},
		{[]string{"of the future"}, "", true},
		{[]string{""}, "", true},
		{[]string{"none"}, "", false},
		{[]string{"same-origin"}, "", false},
		{nil, "", false},
		{[]string{"cross-site"}, "https://app.example.com", false},
		{[]string{"cross-site"}, "https://evil.example", true},
	} {
		for _, path := range []string{"/mcp", "/message", "/healthz", "/readyz", "/register", "/sse/", "/"} {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"} {
				if method == "GET" && path == "/sse/" && !tt.refused {
					continue // which waits
				}
				req := httptest.NewRequest(method, path, nil)
				req.Host, req.Header["Sec-Fetch-Site"] = "localhost", tt.site
				if tt.origin != "" {
					req.Header.Set("Origin", tt.origin)
				}
				if a := record(h, req); (a.Code == http.StatusForbidden) != tt.refused {
					t.Errorf("Sec-Fetch-Site %q, Origin %q: %s %s got %d, %s", tt.site, tt.origin, method, path, a.Code, a.Body)
				}
			}
		}
	}
}

func TestHostIsOneOfOursOnEveryPath(t *testing.T) {
	h := front(t, server.HTTPOptions{AllowedHosts: []string{"GPU.example.com", "10.0.0.7"}})
	for host, allowed := range map[string]bool{
		"localhost": true, "LOCALHOST:1": true, "localhost.": true, "127.0.0.1:8383": true, "127.9.9.9": true, "[::1]:8383": true, "[::1]": true,
		"gpu.example.com": true, "gpu.EXAMPLE.com:80": true, "10.0.0.7:8383": true,
		"": false, "evil.example": false, "localhost.evil.example": false, "evil.example:8383": false,
		"gpu.example.com.evil.example": false, "10.0.0.8": false, "0.0.0.0": false, "[::]:8383": false,
	} {
		for _, path := range []string{"/mcp", "/sse", "/message", "/healthz", "/readyz", "/nothing"} {
			a := try(h, "PUT", path, host, "")
			if refused := a.Code == http.StatusForbidden; refused == allowed {
				t.Errorf("host %q, %s: got %d, want it allowed: %v", host, path, a.Code, allowed)
			}
		}
	}
}

func TestAddressThatAClientReachesIsAHostOfOurs(t *testing.T) {
	h := front(t, server.HTTPOptions{})
	for host, want := range map[string]int{"10.0.0.9:8383": 200, "10.0.0.8:8383": 403, "gpu": 403} {
		req := httptest.NewRequest("GET", "/readyz", nil)
		req.Host = host
		local := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 8383})
		a := record(h, req.WithContext(local))
		if a.Code != want {
			t.Errorf("host %s: got %d, want %d", host, a.Code, want)
		}
	}
}

func TestBodyThatIsTooLargeTakesLittleMemory(t *testing.T) {
	const size, limit = 128 << 20, 1 << 12 // the limit is that of front
	h := front(t, server.HTTPOptions{})
	for _, announced := range []int64{size, -1, limit} {
		req := httptest.NewRequest("POST", "/mcp", &repeated{size})
		req.Host, req.ContentLength = "localhost", announced
		req.Header = header()
		a := httptest.NewRecorder()
		used := allocated(func() { h.ServeHTTP(a, req) })
		if a.Code != http.StatusRequestEntityTooLarge || used > 256<<10 {
			t.Errorf("announced as %d: got %d, and %d bytes were allocated", announced, a.Code, used)
		}
	}
}

func TestOriginIsAbsentOrAllowedOnEveryPath(t *testing.T) {
	h := front(t, server.HTTPOptions{AllowedOrigins: []string{"https://app.example.com"}})
	for origin, allowed := range map[string]bool{
		"": true, "https://app.example.com": true, "HTTPS://App.Example.Com": true,
		"null": false, "http://localhost:8383": false, "http://app.example.com": false, "https://app.example.com:444": false,
		"https://app.example.com.evil.example": false, "https://evil.example": false, "*": false,
	} {
		for _, path := range []string{"/mcp", "/sse", "/message", "/healthz", "/readyz", "/nothing"} {
			for _, method := range []string{"PUT", "OPTIONS"} {
				a := try(h, method, path, "localhost", origin)
				if refused := a.Code == http.StatusForbidden; refused == allowed {
					t.Errorf("origin %q, %s %s: got %d, want it allowed: %v", origin, method, path, a.Code, allowed)
				}
				want := ""
				if allowed {
					want = origin
				}
				if got := a.Header().Get("Access-Control-Allow-Origin"); got != want {
					t.Errorf("origin %q, %s %s: Access-Control-Allow-Origin is %q", origin, method, path, got)
				}
			}
		}
	}
}

func TestServersOwnOriginNeedsNoAllowance(t *testing.T) {
	h := front(t, server.HTTPOptions{})
	for _, tt := range []struct {
		host, origin string
		status       int
	}{
		{"localhost:8383", "http://localhost:8383", 200},
		{"localhost", "https://LOCALHOST", 200},
		{"localhost:8383", "http://localhost", 403},
		{"localhost:8383", "http://127.0.0.1:8383", 403},
		{"localhost:8383", "localhost:8383", 403},
		{"localhost:8383", "file://localhost:8383", 403},
		{"evil.example", "http://evil.example", 403},
	} {
		a := try(h, "GET", "/readyz", tt.host, tt.origin)
		if a.Code != tt.status || len(a.Header()["Access-Control-Allow-Origin"]) > 0 {
			t.Errorf("host %s, origin %s: got %d, %v; want %d", tt.host, tt.origin, a.Code, a.Header(), tt.status)
		}
	}
}

func TestNoOtherOriginIsAllowedByItself(t *testing.T) {
	h := front(t, server.HTTPOptions{})
	for _, method := range []string{"GET", "OPTIONS"} {
		if a := try(h, method, "/sse", "localhost", "http://localhost:3000"); a.Code != 403 || len(a.Header()["Access-Control-Allow-Origin"]) > 0 {
			t.Errorf("%s: got %d, %v", method, a.Code, a.Header())
		}
	}
}

func TestPreflightOfAnAllowedOriginIsAnswered(t *testing.T) {
	h := front(t, server.HTTPOptions{AllowedOrigins: []string{"https://app.example.com"}})
	req := httptest.NewRequest("OPTIONS", "/mcp", nil)
	req.Host = "localhost"
	req.Header.Set("Origin", "https://app.example.com")
	req.Header.Set("Access-Control-Request-Method", "POST")
	req.Header.Set("Access-Control-Request-Headers", "content-type,mcp-session-id")
	a := record(h, req)
	if a.Code != 204 || a.Header().Get("Access-Control-Allow-Headers") != "content-type,mcp-session-id" ||
		!strings.Contains(a.Header().Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("got %d, %v", a.Code, a.Header())
	}
}

func TestNewHTTPRefusesWhatCannotBeAllowed(t *testing.T) {
	s := newServer(t, server.Options{})
	for _, over := range []server.HTTPOptions{
		{AllowedHosts: []string{""}},
		{AllowedHosts: []string{"*"}},
		{AllowedHosts: []string{"http://gpu"}},
		{AllowedOrigins: []string{"*"}},
		{AllowedOrigins: []string{"app.example.com"}},
		{AllowedOrigins: []string{"https://*.example.com"}},
		{AllowedOrigins: []string{"https://app.example.com/"}},
		{MaxStreams: -1},
	} {
		if _, err := server.NewHTTP(s, over); err == nil {
			t.Errorf("%v is taken", over)
		}
	}
}

func front(t testing.TB, over server.HTTPOptions) *server.HTTP {
	t.Helper()
	h := newHTTP(t, server.Options{MaxMessage: 1 << 12}, over)
	return h
}

func try(h http.Handler, method, path, host, origin string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, nil)
	req.Host = host
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	a := record(h, req)
	return a
}

// FuzzHTTP checks that whatever is sent, something is answered, and soon, and
// that it is nobody's bug.
func FuzzHTTP(f *testing.F) {
	for _, path := range []string{"/mcp", "/message?sessionId=x", "/readyz"} {
		f.Add("POST", path, "localhost", "application/json", "2026-07-28", "tools/call", []byte(modern(call("1", "echo", `{"text":"a"}`))))
		f.Add("POST", path, "127.0.0.1:1", "application/json; charset=utf-8", "", "", []byte(initialize))
	}
	f.Add("DELETE", "/mcp", "[::1]", "", "2025-11-25", "", []byte(nil))
	f.Add("POST", "/mcp", "localhost", "application/json", "9999", "", []byte(`{"id":1,"method":"x","params":{"_meta":7}}`))
	f.Add("POST", "/mcp", "localhost", "application/json", "2026-07-28", "panic", []byte(modern(call("1", "panic", `{}`))))
	quick := slices.DeleteFunc(fakeTools(), func(tool mcpserver.ServerTool) bool { // the others take as long as their arguments say
		return tool.Tool.Name == "sleep" || tool.Tool.Name == "progress"
	})
	s, err := server.New(server.Options{Name: "test", Version: "1", MaxMessage: 1 << 12, Tools: quick})
	if err != nil {
		f.Fatal(err)
	}
	h, err := server.NewHTTP(s, server.HTTPOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, host, kind, version, mcpMethod string, body []byte) {
		if method == "GET" && strings.HasPrefix(path, "/sse") {
			t.Skip("waits, as it should")
		}
		req, err := http.NewRequestWithContext(t.Context(), method, "http://localhost/", strings.NewReader(string(body)))
		if err != nil {
			t.Skip("no method")
		}
		if req.URL.Path, req.URL.RawQuery, _ = strings.Cut(path, "?"); !strings.HasPrefix(req.URL.Path, "/") {
			t.Skip("no path")
		}
		req.Host = host
		req.Header = http.Header{"Content-Type": {kind}, "Mcp-Protocol-Version": {version}, "Mcp-Method": {mcpMethod}, "Mcp-Session-Id": {version}}
		a := record(h, req)
		if a.Code >= 500 || a.Code < 200 {
			t.Errorf("got %d, %s", a.Code, a.Body)
		}
		if a.Code == 200 && strings.HasPrefix(path, "/mcp") && a.Body.Len() == 0 {
			t.Error("got 200 and no answer")
		}
	})
}
