package server_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/server"
)

// page is a dashboard whose requests are counted.
type page struct {
	*server.HTTP
	t       *testing.T
	acted   atomic.Int64
	looked  atomic.Value // the ID of the caller who looked last
	revoked atomic.Bool  // the key of the administrator
	cookie  string
	remote  bool
}

func newPage(t *testing.T, keys bool, over server.HTTPOptions) *page {
	p := &page{t: t}
	over.Dashboard = server.Dashboard{
		Files: map[string]http.Handler{"": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })},
		Stream: func(w http.ResponseWriter, req *http.Request, may func() bool) {
			p.looked.Store(caller.FromContext(req.Context()).ID)
			for may() {
				_, _ = io.WriteString(w, "data")
				select {
				case <-time.After(time.Second):
				case <-req.Context().Done():
					return
				}
			}
			_, _ = io.WriteString(w, "end")
		},
		Actions: map[string]http.HandlerFunc{"/dashboard/cancel": func(http.ResponseWriter, *http.Request) { p.acted.Add(1) }},
	}
	if keys {
		over.Authenticate = func(req *http.Request) (caller.Caller, error) {
			switch req.Header.Get("Authorization") {
			case "Bearer admin":
				if !p.revoked.Load() {
					return caller.Caller{ID: "root", Admin: true}, nil
				}
			case "Bearer hostile":
				return caller.Caller{ID: "hostile", Admin: true}, nil
			case "Bearer user":
				return caller.Caller{ID: "user"}, nil
			case "":
				return caller.Caller{}, &caller.Denied{Message: "a key is needed"}
			}
			return caller.Caller{}, &caller.Denied{Code: "invalid_token", Message: "the key is not known"}
		}
	}
	p.HTTP = front(t, over)
	return p
}

// do sends a request as the page does, changed by edit.
func (p *page) do(method, path, body string, edit func(*http.Request)) *httptest.ResponseRecorder {
	p.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Host, req.RemoteAddr = "localhost:8383", "127.0.0.1:5000"
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	if p.remote {
		at.IP, req.RemoteAddr = net.IPv4zero, "203.0.113.7:5000"
	}
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if method != "GET" {
		req.Header.Set("Origin", "http://localhost:8383")
	}
	if p.cookie != "" {
		req.Header.Set("Cookie", "ollama-mcp-8383="+p.cookie)
	}
	req = req.WithContext(server.WithListenerAt(p.t.Context(), at))
	if edit != nil {
		edit(req)
	}
	return record(p.HTTP, req)
}

// token is that of the session.
func (p *page) token() string {
	p.t.Helper()
	var session struct{ Token string }
	if a := p.do("GET", "/dashboard/session", "", nil); a.Code != 200 || json.Unmarshal(a.Body.Bytes(), &session) != nil {
		p.t.Fatalf("the session: %d %s", a.Code, a.Body)
	}
	return session.Token
}

// logIn logs in with a key, and returns the status.
func (p *page) logIn(key string) int {
	p.t.Helper()
	a := p.do("POST", "/dashboard/session", `{"key":"`+key+`"}`, nil)
	if list := a.Result().Cookies(); a.Code == http.StatusNoContent {
		c := list[0]
		if c.Name != "ollama-mcp-8383" || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.MaxAge > 24*3600 || strings.Contains(c.Value, key) {
			p.t.Errorf("the cookie is %v", c)
		}
		p.cookie = c.Value
	}
	return a.Code
}

// stream is how the stream is answered, until its viewer leaves after a moment.
func (p *page) stream() *httptest.ResponseRecorder {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	cancel()
	return p.do("GET", "/dashboard/events", "", func(req *http.Request) {
		old := req.Context()
		*req = *req.WithContext(mergedContext{ctx, old})
	})
}

// mergedContext ends with one context, and has the values of another.
type mergedContext struct {
	context.Context
	values context.Context
}

func (m mergedContext) Value(key any) any { return m.values.Value(key) }

func TestDashboardIsForAdministrators(t *testing.T) {
	for name, tc := range map[string]struct {
		keys, remote, insecure bool
		credential             string
		proxied                bool
		want                   int
	}{
		"this machine":                              {want: 200},
		"a proxy on this machine":                   {proxied: true, want: 403},
		"another machine, insecure":                 {remote: true, insecure: true, want: 403},
		"this machine, but keys are needed":         {keys: true, want: 401},
		"a wrong key":                               {keys: true, credential: "Bearer nonsense", want: 401},
		"a key of no administrator":                 {keys: true, credential: "Bearer user", want: 403},
		"a key":                                     {keys: true, credential: "Bearer admin", want: 200},
		"a key, from another machine":               {keys: true, remote: true, credential: "Bearer admin", want: 200},
		"another machine without a key":             {keys: true, remote: true, want: 401},
		"a key of no administrator, and --insecure": {keys: true, insecure: true, credential: "Bearer user", want: 403},
	} {
		p := newPage(t, tc.keys, server.HTTPOptions{Insecure: tc.insecure})
		p.remote = tc.remote
		edit := func(req *http.Request) {
			if tc.credential != "" {
				req.Header.Set("Authorization", tc.credential)
			}
			if tc.proxied {
				req.Header.Set("X-Forwarded-For", "203.0.113.7")
			}
		}
		if tc.remote {
			edit = func(req *http.Request) {
				req.Header.Set("Authorization", tc.credential)
				req.Host = "127.0.0.1:8383"
				if req.Method != "GET" {
					req.Header.Set("Origin", "http://127.0.0.1:8383")
				}
			}
		}
		ended := func(req *http.Request) {
			edit(req)
			ctx, cancel := context.WithCancel(req.Context())
			cancel()
			*req = *req.WithContext(ctx)
		}
		for _, a := range []*httptest.ResponseRecorder{p.do("GET", "/dashboard/session", "", edit), p.do("GET", "/dashboard/events", "", ended)} {
			if a.Code != tc.want || strings.Contains(a.Body.String(), "data") && tc.want != 200 || a.Header().Get("WWW-Authenticate") != "" {
				t.Errorf("%s: got %d %s, want %d", name, a.Code, a.Body, tc.want)
			}
		}
		if a := p.do("POST", "/dashboard/cancel", "{}", edit); a.Code != 403 && a.Code != tc.want || p.acted.Load() != 0 {
			t.Errorf("%s: acting without a token: %d", name, a.Code)
		}
		if a := p.do("GET", "/", "", nil); a.Code != 200 || !strings.HasPrefix(a.Header().Get("Content-Security-Policy"), "default-src 'self';") {
			t.Errorf("%s: the page without data: %d %v", name, a.Code, a.Header())
		}
	}
}

func TestDashboardActsForItsOwnPageAlone(t *testing.T) {
	for _, keys := range []bool{false, true} {
		p := newPage(t, keys, server.HTTPOptions{AllowedOrigins: []string{"https://friend.example"}})
		if keys && p.logIn("admin") != 204 {
			t.Fatal("cannot log in")
		}
		token := p.token()
		for name, tc := range map[string]struct {
			token string
			edit  func(http.Header)
			want  int
		}{
			"the page":                          {token, func(http.Header) {}, 200},
			"no token":                          {"", func(http.Header) {}, 403},
			"a wrong token":                     {token[:len(token)-1], func(http.Header) {}, 403},
			"another site":                      {token, func(h http.Header) { h.Set("Origin", "https://evil.example") }, 403},
			"a site that may call tools":        {token, func(h http.Header) { h.Set("Origin", "https://friend.example") }, 403},
			"the same name, another port":       {token, func(h http.Header) { h.Set("Origin", "http://localhost:9999") }, 403},
			"no origin":                         {token, func(h http.Header) { h.Del("Origin") }, 403},
			"a sandboxed frame":                 {token, func(h http.Header) { h.Set("Origin", "null") }, 403},
			"another site, as the browser says": {token, func(h http.Header) { h.Del("Origin"); h.Set("Sec-Fetch-Site", "cross-site") }, 403},
		} {
			before := p.acted.Load()
			a := p.do("POST", "/dashboard/cancel", "{}", func(req *http.Request) {
				req.Header.Set("X-Dashboard-Token", tc.token)
				tc.edit(req.Header)
			})
			if acted := p.acted.Load() > before; a.Code != tc.want || acted != (tc.want == 200) {
				t.Errorf("keys %v, %s: status %d, acted %v", keys, name, a.Code, acted)
			}
		}
		for _, origin := range []string{"https://friend.example", "http://localhost:9999", "null"} {
			a := p.do("GET", "/dashboard/session", "", func(req *http.Request) { req.Header.Set("Origin", origin) })
			if a.Code != 403 || strings.Contains(a.Body.String(), token) {
				t.Errorf("%s reads the token: %d %s", origin, a.Code, a.Body)
			}
		}
		if a := p.do("GET", "/dashboard/cancel", "", nil); a.Code != 405 {
			t.Errorf("GET acts: %d", a.Code)
		}
		if keys {
			other := newPage(t, true, server.HTTPOptions{})
			if other.logIn("admin"); other.token() == token {
				t.Error("two sessions have the same token")
			}
		}
	}
}

func TestLinkOfAnotherSiteLeadsToThePageAndToNoData(t *testing.T) {
	p := newPage(t, false, server.HTTPOptions{})
	for path, want := range map[string]int{"/": 200, "/dashboard/session": 403, "/dashboard/events": 403, "/healthz": 403} {
		a := p.do("GET", path, "", func(req *http.Request) {
			req.Header.Set("Sec-Fetch-Site", "cross-site")
			req.Header.Set("Sec-Fetch-Mode", "navigate")
			req.Header.Set("Sec-Fetch-Dest", "document")
		})
		if a.Code != want {
			t.Errorf("%s: status %d, want %d", path, a.Code, want)
		}
	}
	a := p.do("GET", "/", "", func(req *http.Request) { req.Header.Set("Sec-Fetch-Site", "cross-site") }) // as for an image
	if a.Code != 403 {
		t.Errorf("an image: status %d", a.Code)
	}
}

func TestLoginEndsWithItsKeyAndByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPage(t, true, server.HTTPOptions{})
		for key, want := range map[string]int{"user": 403, "nonsense": 401, "": 400} {
			if got := p.logIn(key); got != want || p.cookie != "" {
				t.Errorf("key %q: status %d, want %d, cookie %q", key, got, want, p.cookie)
			}
		}
		if p.logIn("admin") != 204 || p.stream().Code != 200 {
			t.Fatal("cannot log in")
		}
		time.Sleep(59 * time.Minute)
		if p.stream().Code != 200 {
			t.Error("it has ended within an hour of its last use")
		}
		time.Sleep(time.Hour)
		if code := p.stream().Code; code != 401 {
			t.Errorf("after an hour without use: %d", code)
		}
		p.logIn("admin")
		for range 13 {
			time.Sleep(55 * time.Minute)
			p.stream()
		}
		if code := p.stream().Code; code != 200 {
			t.Errorf("while it is in use: %d", code)
		}
		time.Sleep(30 * time.Minute)
		if code := p.stream().Code; code != 401 {
			t.Errorf("after twelve hours: %d", code)
		}
		p.logIn("admin")
		before := p.cookie
		if p.do("DELETE", "/dashboard/session", "", nil); p.stream().Code != 401 {
			t.Error("it outlives logging out")
		}
		if p.logIn("admin"); p.cookie == before {
			t.Error("the cookie is used again")
		}

		// A stream that is open ends too.
		var body strings.Builder
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a := p.do("GET", "/dashboard/events", "", nil)
			body.WriteString(a.Body.String())
		}()
		time.Sleep(2500 * time.Millisecond)
		p.revoked.Store(true)
		<-ended
		if body.String() != "datadatadataend" {
			t.Errorf("the stream had %q", body.String())
		}
		if code := p.stream().Code; code != 401 {
			t.Errorf("after the key was revoked: %d", code)
		}
	})
}

// A proxy may add a prefix to the paths, and TLS may end there.
func TestCookieIsForThePathsOfTheDashboardAndOverTLSForTLSAlone(t *testing.T) {
	for origin, secure := range map[string]bool{"http://localhost:8383": false, "https://localhost:8383": true, "HTTPS://LOCALHOST:8383": true} {
		p := newPage(t, true, server.HTTPOptions{})
		for _, method := range []string{"POST", "DELETE"} {
			a := p.do(method, "/dashboard/session", `{"key":"admin"}`, func(req *http.Request) { req.Header.Set("Origin", origin) })
			if list := a.Result().Cookies(); a.Code != 204 || len(list) != 1 || list[0].Path != "" || list[0].Secure != secure {
				t.Errorf("%s of %s: status %d, cookies %v", method, origin, a.Code, list)
			}
		}
	}
}

func TestLoginsAreBoundedInNumber(t *testing.T) {
	p := newPage(t, true, server.HTTPOptions{})
	p.logIn("admin")
	first := p.cookie
	for range 150 {
		p.cookie = ""
		p.logIn("admin")
	}
	if code := p.stream().Code; code != 200 {
		t.Errorf("the last login: %d", code)
	}
	if p.cookie = first; p.stream().Code != 401 {
		t.Error("the first of 151 logins is kept")
	}
}

func TestAdministratorWhoLogsInAgainAndAgainEndsNoLoginOfTheHonestOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPage(t, true, server.HTTPOptions{})
		p.logIn("admin")
		honest := p.cookie
		for n := range 250 {
			time.Sleep(time.Second)
			p.cookie = ""
			if code := p.logIn("hostile"); code != http.StatusNoContent {
				t.Fatalf("login %d of the hostile administrator: %d", n, code)
			}
		}
		hostile := p.cookie
		p.cookie = honest
		if a := p.stream(); a.Code != 200 || p.looked.Load() != "root" {
			t.Errorf("the honest administrator got %d %s, as %v", a.Code, a.Body, p.looked.Load())
		}
		p.cookie = hostile
		if a := p.stream(); a.Code != 200 || p.looked.Load() != "hostile" {
			t.Errorf("the last login of the other got %d %s, as %v", a.Code, a.Body, p.looked.Load())
		}
	})
}

func TestServerWithoutADashboardHasNoneOfItsPaths(t *testing.T) {
	h := front(t, server.HTTPOptions{})
	for _, path := range []string{"/", "/dashboard/session", "/dashboard/events", "/dashboard/cancel"} {
		if a := try(h, "GET", path, "localhost", ""); a.Code != 404 {
			t.Errorf("%s: %d", path, a.Code)
		}
	}
}
