package server_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"ollama-mcp/internal/caller"
	"ollama-mcp/server"
)

// FuzzHeaders checks that nobody is served who has not proved to be somebody, calls
// another server, or comes from a page of another; and that what they prove it with
// is not told to anybody.
func FuzzHeaders(f *testing.F) {
	const secret = "Bearer p4ssw0rd"
	var log strings.Builder
	s, err := server.New(server.Options{Name: "test", Tools: fakeTools(), Log: logTo(&log)})
	if err != nil {
		f.Fatal(err)
	}
	h, err := server.NewHTTP(s, server.HTTPOptions{
		AllowedOrigins: []string{"https://app.example.com"},
		Authenticate: func(r *http.Request) (caller.Caller, error) {
			switch r.Header.Get("Authorization") {
			case secret:
				return caller.Caller{ID: "ann", Tenant: "ann"}, nil
			case "Bearer broken":
				return caller.Caller{}, errors.New("no connection")
			}
			return caller.Caller{}, &caller.Denied{Code: "invalid_token", Message: "no such key"}
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, authorization := range []string{secret, "", "Bearer broken", "Basic eDp5"} {
		for _, origin := range []string{"", "null", "https://app.example.com", "http://localhost"} {
			for _, host := range []string{"localhost", "127.0.0.1:8383", "[::1]:1", "evil.example"} {
				f.Add("/mcp", host, origin, authorization, "", "2026-07-28")
				f.Add("/message?sessionId=guess", host, origin, authorization, "guess", "2025-11-25")
			}
		}
	}
	body := modern(call("1", "echo", `{"text":"a"}`))
	f.Fuzz(func(t *testing.T, path, host, origin, authorization, session, version string) {
		log.Reset()
		req := httptest.NewRequest("POST", "/", strings.NewReader(body))
		req.URL.Path, req.URL.RawQuery, _ = strings.Cut(path, "?")
		req.Host = host
		req.Header = header(append([]string{"Mcp-Session-Id", session}, modernHeader("tools/call", "echo")...)...)
		req.Header.Set("MCP-Protocol-Version", version)
		req.Header.Set("Authorization", authorization)
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		a := record(h, req)

		if strings.Contains(a.Body.String(), `"result"`) && (authorization != secret || req.URL.Path != "/mcp") {
			t.Errorf("it was served: %s", a.Body)
		}
		ours := strings.EqualFold(origin, "https://app.example.com")
		if allowed := a.Header().Get("Access-Control-Allow-Origin"); allowed != "" && (allowed != origin || !ours) {
			t.Errorf("origin %q: Access-Control-Allow-Origin is %q", origin, allowed)
		}
		if strings.Contains(host+origin, "evil") && a.Code != http.StatusForbidden {
			t.Errorf("host %q, origin %q: got %d", host, origin, a.Code)
		}
		if a.Code < 200 || a.Code >= 500 && authorization != "Bearer broken" {
			t.Errorf("got %d, %s", a.Code, a.Body)
		}
		told := a.Body.String() + log.String()
		if strings.Contains(told, "p4ssw0rd") && !strings.Contains(path+host+origin+session+version, "p4ssw0rd") {
			t.Errorf("the secret is told: %s", told)
		}
	})
}

// FuzzStreamMessage checks that whatever the client of a stream sends is taken or
// refused, and that over the stream come messages only.
func FuzzStreamMessage(f *testing.F) {
	f.Add("application/json", []byte(initialize))
	f.Add("application/json", []byte(call("1", "progress", `{"reports":3}`)))
	f.Add("application/json", []byte(call("1", "sleep", `{"seconds":30}`)))
	f.Add("application/json; charset=utf-8", []byte(call("1", "panic", "{}")))
	f.Add("application/json", []byte(`{"jsonrpc":"2.0","id":1,"result":{}}`))
	f.Add("text/plain", []byte("[{}]\n\n"))
	f.Add("application/json", []byte("{\"id\":\"\n\",\"method\":\"\r\n\revent: x\"}"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		if strings.ContainsFunc(kind, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Skip("no header")
		}
		inBubble(t, server.Options{MaxMessage: 1 << 12}, func(t *testing.T, r *remote) {
			s := r.openStream()
			s.say(initialize)
			s.next()
			a := r.send("POST", s.path, string(body), header("Content-Type", kind))
			if a.StatusCode != http.StatusAccepted && (a.StatusCode < 400 || a.StatusCode >= 500) {
				t.Errorf("got %d, %s", a.StatusCode, a.body)
			}
			s.say(`{"jsonrpc":"2.0","id":"last","method":"ping"}`)
			synctest.Wait()
			for alive := false; !alive; {
				e, ok := <-s.events
				if !ok || e.name == "message" && !json.Valid([]byte(e.data)) || e.name != "message" && e.name != "" {
					t.Fatalf("over the stream came %v %q", e.name, e.data)
				}
				alive = strings.Contains(e.data, `"last"`)
			}
		})
	})
}
