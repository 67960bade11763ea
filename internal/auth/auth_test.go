package auth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ollama-mcp/internal/auth"
	"ollama-mcp/internal/caller"
)

func TestOnlyOneBearerTokenInTheHeaderIsTaken(t *testing.T) {
	secret, hash := auth.NewKey()
	a := &auth.Authenticator{Keys: keys(t, caller.Caller{ID: "ci"}, hash)}
	for _, c := range []struct {
		query   string
		headers []string
		want    string
	}{
		{"", []string{"Bearer " + secret}, "ok"},
		{"", []string{"bearer   " + secret + " "}, "ok"},
		{"sessionId=1", []string{"Bearer " + secret}, "ok"},
		{"", nil, ""},
		{"", []string{"Bearer " + secret, "Bearer " + secret}, "invalid_request"},
		{"", []string{"Bearer " + secret + ", Bearer " + secret}, "invalid_request"},
		{"", []string{"Bearer " + secret + " " + secret}, "invalid_request"},
		{"", []string{"Bearer\t" + secret}, "invalid_request"},
		{"", []string{"Bearer"}, "invalid_request"},
		{"", []string{"Bearer ="}, "invalid_request"},
		{"", []string{""}, "invalid_request"},
		{"", []string{secret}, "invalid_request"},
		{"", []string{"Basic " + secret}, "invalid_request"},
		{"", []string{"Bearer " + strings.Repeat("a", 1<<15)}, "invalid_request"},
		{"access_token=" + secret, nil, "invalid_request"},
		{"access_token=" + secret, []string{"Bearer " + secret}, "invalid_request"},
		{"", []string{"Bearer " + secret + "x"}, "invalid_token"},
		{"", []string{"Bearer eyJhbGciOiJub25lIn0.e30."}, "invalid_token"},
	} {
		r := &http.Request{URL: &url.URL{Path: "/mcp", RawQuery: c.query}, Header: http.Header{"Authorization": c.headers}}
		got, err := a.Authenticate(r)
		if code(t, err, secret) != c.want {
			t.Errorf("?%s and %q: got %v, want %q", c.query, c.headers, err, c.want)
		}
		if (got.ID == "ci") != (c.want == "ok") {
			t.Errorf("?%s and %q: got the caller %q", c.query, c.headers, got.ID)
		}
	}
}

func TestKeysAreTakenBesideTokens(t *testing.T) {
	signs := newSigner(t, "ES256", "1")
	i := newIssuer(signs)
	a := taking(t, i, nil)
	secret, hash := auth.NewKey()
	a.Keys = keys(t, caller.Caller{ID: "ci"}, hash)

	if got, err := a.Authenticate(with(t.Context(), secret)); got.ID != "ci" || err != nil {
		t.Errorf("with a key: got %q, %v", got.ID, err)
	}
	unknown, _ := auth.NewKey()
	if _, err := a.Authenticate(with(t.Context(), unknown)); code(t, err, unknown) != "invalid_token" {
		t.Errorf("with an unknown key: got %v, want invalid_token", err)
	}
	if n := i.askedFor(); n != 0 {
		t.Errorf("for keys the issuer was asked %d times, want 0", n)
	}
	token := signs.sign(t, good(nil))
	if got, err := a.Authenticate(with(t.Context(), token)); got.ID != "alice@login.example.com" || err != nil {
		t.Errorf("with a token: got %q, %v", got.ID, err)
	}
}

func TestZeroAuthenticatorDeniesEverybody(t *testing.T) {
	var a auth.Authenticator
	secret, _ := auth.NewKey()
	if _, err := a.Authenticate(with(t.Context(), secret)); code(t, err, secret) != "invalid_token" {
		t.Errorf("with a key: got %v, want invalid_token", err)
	}
	r := with(t.Context(), "x")
	r.Header.Del("Authorization")
	if _, err := a.Authenticate(r); code(t, err, "") != "" {
		t.Errorf("without credentials: got %v, want a Denied without a code", err)
	}
}
