package auth_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"ollama-mcp/internal/auth"
	"ollama-mcp/internal/caller"
)

// FuzzHeader: whatever the header and the URL hold, the key is taken only where it is
// the one token of one Bearer header, and no error repeats what came.
func FuzzHeader(f *testing.F) {
	const secret = "omcp_0123456789abcdefghijklmnopqrstuvwxyz-_ABCDE"
	hash := "c74b5f4e22a4eb3a97e9642adbbfdbd9419f6559421833ca561587a59f921de0"
	a := &auth.Authenticator{Keys: keys(f, caller.Caller{ID: "ci"}, hash)}
	for _, header := range []string{"Bearer " + secret, "bearer  " + secret + " ", secret, "Bearer", "", "Basic eDp5", "Bearer a b", "Bearer =", "Bearer \x00"} {
		f.Add(header, "")
	}
	f.Add("Bearer "+secret, "access_token="+secret)
	f.Fuzz(func(t *testing.T, header, query string) {
		r := &http.Request{URL: &url.URL{Path: "/mcp", RawQuery: query}, Header: http.Header{"Authorization": {header}}}
		got, err := a.Authenticate(r)
		_, token, _ := strings.Cut(header, " ")
		if err == nil && (got.ID != "ci" || strings.Trim(token, " ") != secret) {
			t.Fatalf("%q was taken for %q", header, got.ID)
		}
		if _, ok := errors.AsType[*caller.Denied](err); err != nil && !ok {
			t.Fatalf("%q: got %v, want a Denied", header, err)
		}
		if err != nil && len(token) > 16 && strings.Contains(err.Error(), token) {
			t.Fatalf("the error repeats the token: %v", err)
		}
	})
}

// FuzzToken: whatever a token says, it is taken only for alice's, since she is the
// only one for whom the issuer has signed anything.
func FuzzToken(f *testing.F) {
	signs, forger := newSigner(f, "ES256", "1"), newSigner(f, "ES256", "1")
	a := taking(f, newIssuer(signs), map[string]auth.Grant{"chat": {Tools: []string{"chat"}}})
	f.Add(signs.sign(f, good(map[string]any{"scope": "chat"})))
	f.Add(signs.sign(f, good(map[string]any{"scp": []string{"chat"}})))
	f.Add(forger.sign(f, good(map[string]any{"scope": "chat", "sub": "root"})))
	f.Add("eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.")
	f.Add("eyJhbGciOiJFUzI1NiIsImNyaXQiOlsiYjY0Il0sImI2NCI6ZmFsc2V9.e30.AA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		got, err := a.Authenticate(with(t.Context(), token))
		if code(t, err, token) == "ok" && (got.ID != "alice@login.example.com" || got.MayCall("embed") || got.Admin) {
			t.Fatalf("%q was taken for %+v", token, got)
		}
	})
}
