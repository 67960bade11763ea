package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"ollama-mcp/internal/caller"
	"ollama-mcp/server"
)

// entrances are where a request says what it wants, and so has to say who wants it.
var entrances = []struct{ method, path string }{
	{"POST", "/mcp"}, {"DELETE", "/mcp"}, {"GET", "/sse"}, {"POST", "/message?sessionId=x"},
}

// denying answers every request with an error, and reads no body.
func denying(err error) server.HTTPOptions {
	return server.HTTPOptions{
		Authenticate: func(*http.Request) (caller.Caller, error) { return caller.Caller{}, err },
		Challenge: func(_ *http.Request, d *caller.Denied) string {
			return `Bearer error="` + d.Code + `"`
		},
		AllowedOrigins: []string{"https://app.example.com"},
		Metadata: func(path string) []byte {
			if path != server.MetadataPath && path != server.MetadataPath+"/mcp" {
				return nil
			}
			return []byte(`{"resource":"https://gpu.example.com/mcp"}`)
		},
	}
}

// unreadable is a body that must not be read.
type unreadable struct{ t *testing.T }

func (b unreadable) Read([]byte) (int, error) {
	b.t.Error("the body was read")
	return 0, io.EOF
}

func TestWhoMayNotAskIsToldSoBeforeTheirMessageIsRead(t *testing.T) {
	for _, tt := range []struct {
		name      string
		err       error
		status    int
		header    string
		value     string
		says      string
		saysNever string
	}{
		{"no proof", &caller.Denied{Message: "a key is needed"}, 401, "WWW-Authenticate", `Bearer error=""`, "a key is needed", "–"},
		{
			"a bad token", &caller.Denied{Code: "invalid_token", Message: "the token has expired"},
			401, "WWW-Authenticate", `Bearer error="invalid_token"`, "the token has expired", "–",
		},
		{
			"too little", &caller.Denied{Code: "insufficient_scope", Message: "the token is not for tools"},
			403, "WWW-Authenticate", `Bearer error="insufficient_scope"`, "the token is not for tools", "–",
		},
		{
			"two headers", &caller.Denied{Code: "invalid_request", Message: "the request has more than one Authorization header"},
			400, "WWW-Authenticate", `Bearer error="invalid_request"`, `"error":"invalid_request"`, "–",
		},
		{"nobody knows", errors.New("issuer hunter2 is down"), 503, "Retry-After", "5", "try again", "hunter2"},
	} {
		h := front(t, denying(tt.err))
		for _, e := range entrances {
			req := httptest.NewRequest(e.method, e.path, unreadable{t})
			req.Host, req.Header = "localhost", header(as("alice")...)
			a := record(h, req)
			got := a.Body.String()
			if a.Code != tt.status || a.Header().Get(tt.header) != tt.value || a.Header().Get("Content-Type") != "application/json" || !strings.Contains(got, tt.says) || strings.Contains(got, tt.saysNever) {
				t.Errorf("%s, %s %s: got %d %v, %s", tt.name, e.method, e.path, a.Code, a.Header(), got)
			}
			if req.Header.Get("Authorization") != "" {
				t.Errorf("%s, %s %s: the credentials travel on", tt.name, e.method, e.path)
			}
		}
	}
}

func TestChallengeIsPlainWhereNothingElseIsSaid(t *testing.T) {
	opts := denying(&caller.Denied{Message: "a key is needed"})
	opts.Challenge = nil
	if got := try(front(t, opts), "POST", "/mcp", "localhost", "").Header().Get("WWW-Authenticate"); got != "Bearer" {
		t.Errorf("got %q", got)
	}
}

func TestWhatIsForEverybodyNeedsNoProof(t *testing.T) {
	h := front(t, denying(&caller.Denied{}))
	for _, path := range []string{"/healthz", "/readyz", "/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"} {
		if a := try(h, "GET", path, "localhost", ""); a.Code != 200 {
			t.Errorf("%s: got %d", path, a.Code)
		}
	}
	if a := try(h, "OPTIONS", "/mcp", "localhost", "https://app.example.com"); a.Code != 204 {
		t.Errorf("a preflight got %d", a.Code)
	}
}

func TestHostAndOriginAreLookedAtBeforeProof(t *testing.T) {
	h := front(t, denying(&caller.Denied{}))
	for _, e := range entrances {
		if a := try(h, e.method, e.path, "evil.example", ""); a.Code != 403 || a.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("a foreign host at %s: %d", e.path, a.Code)
		}
		if a := try(h, e.method, e.path, "localhost", "https://evil.example"); a.Code != 403 || a.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("a foreign origin at %s: %d", e.path, a.Code)
		}
	}
}

func TestPagesMayReadWhyTheyAreRefused(t *testing.T) {
	a := try(front(t, denying(&caller.Denied{})), "POST", "/mcp", "localhost", "https://app.example.com")
	exposed := a.Header().Get("Access-Control-Expose-Headers")
	if a.Code != 401 || !strings.Contains(exposed, "WWW-Authenticate") || !strings.Contains(exposed, "X-Request-Id") || a.Header().Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("got %d, %v", a.Code, a.Header())
	}
}

func TestMetadataIsForPagesOfEveryOrigin(t *testing.T) {
	opts := denying(&caller.Denied{})
	h := front(t, opts)
	const path = "/.well-known/oauth-protected-resource/mcp"
	a := try(h, "GET", path, "localhost", "https://anybody.example")
	if a.Code != 200 || a.Body.String() != string(opts.Metadata(path)) || a.Header().Get("Content-Type") != "application/json" ||
		a.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("got %d %v, %s", a.Code, a.Header(), a.Body)
	}
	if a := try(h, "OPTIONS", path, "localhost", "https://anybody.example"); a.Code != 204 || a.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a preflight got %d %v", a.Code, a.Header())
	}
	if a := try(h, "POST", path, "localhost", ""); a.Code != 405 {
		t.Errorf("a POST got %d", a.Code)
	}
	if a := try(h, "GET", path, "evil.example", ""); a.Code != 403 {
		t.Errorf("a foreign host got %d", a.Code)
	}
	if a := try(front(t, server.HTTPOptions{}), "GET", path, "localhost", ""); a.Code != 404 {
		t.Errorf("without metadata: %d", a.Code)
	}
}

func TestRefusalsAreToldWithoutCredentials(t *testing.T) {
	var told refusals
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, server.Options{OnRefused: told.add})
		h, err := server.NewHTTP(s, denying(&caller.Denied{Code: "invalid_token", Message: "the key is not known"}))
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest("POST", "/mcp?key=hunter2", nil)
		req.Host, req.Header = "localhost", header(as("hunter2")...)
		h.ServeHTTP(httptest.NewRecorder(), req)
		got := fmt.Sprintf("%+v", told.take())
		if !strings.Contains(got, "the key is not known") || !strings.Contains(got, req.RemoteAddr) || strings.Contains(got, "hunter2") {
			t.Errorf("told %s", got)
		}
	})
}

func TestLargestMessageIsTheCallersIfThatIsLess(t *testing.T) {
	opts := server.HTTPOptions{Authenticate: byKey(map[string]caller.Caller{
		"small": {ID: "small", Limits: caller.Limits{Body: 1 << 18}},
		"large": {ID: "large", Limits: caller.Limits{Body: 1 << 30}},
	})}
	inBubbleWith(t, server.Options{MaxMessage: 1 << 19}, opts, func(t *testing.T, r *remote) {
		for _, tt := range []struct {
			name string
			size int
			want string // "" if it is taken
		}{
			{"small", 1 << 17, ""},
			{"small", 1<<18 + 1, "larger than 0.25 MiB, the most that you may send"},
			{"large", 1<<18 + 1, ""},
			{"large", 1<<19 + 1, "larger than 0.5 MiB, the most that this server takes"},
		} {
			a := r.post(strings.Repeat(" ", tt.size), as(tt.name)...)
			if taken := a.StatusCode != 413; taken != (tt.want == "") || !strings.Contains(a.body, tt.want) {
				t.Errorf("%s sends %d bytes: got %d, %s", tt.name, tt.size, a.StatusCode, a.body)
			}
		}
	})
}

func TestAddressesAreOpenToThoseWhoMustProveThemselves(t *testing.T) {
	everywhere := []string{"0.0.0.0:0"}
	var log bytes.Buffer
	stop := func(opts server.HTTPOptions) error {
		t.Helper()
		opts.Listen = everywhere
		log.Reset()
		h := newHTTP(t, server.Options{Log: logTo(&log)}, opts)
		ctx, end := context.WithCancel(t.Context())
		end()
		return h.ListenAndServe(ctx)
	}
	if err := stop(server.HTTPOptions{}); err == nil || !strings.Contains(err.Error(), "--token-file, --oauth-issuer or --tls-client-ca, or --insecure") {
		t.Errorf("for everybody: %v", err)
	}
	if err := stop(aliceAndBob()); err != nil || !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "--tls-cert") {
		t.Errorf("with keys in clear: %v, log %s", err, &log)
	}
	ca := newAuthority(t)
	secret := aliceAndBob()
	secret.TLS = ca.files(t)
	if err := stop(secret); err != nil || strings.Contains(log.String(), "level=WARN") {
		t.Errorf("with keys and TLS: %v, log %s", err, &log)
	}
	if err := stop(server.HTTPOptions{TLS: ca.files(t)}); err == nil {
		t.Error("TLS alone was taken for proof")
	}
	mutual := server.HTTPOptions{TLS: ca.files(t)}
	mutual.TLS.ClientCAFile = ca.file
	if err := stop(mutual); err != nil {
		t.Errorf("with certificates of clients: %v", err)
	}
}
