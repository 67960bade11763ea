package auth_test

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"ollama-mcp/internal/auth"
	"ollama-mcp/internal/caller"
)

const (
	audience  = "https://mcp.example.com/mcp"
	issuerURL = "https://login.example.com"
)

// issuer is a pretend authorization server. It is an http.Handler, and also an
// http.RoundTripper that asks itself, for tests in which time is not real.
type issuer struct {
	mu       sync.Mutex
	url      string
	metadata string            // path of its metadata
	keys     []jose.JSONWebKey // that it publishes
	document []byte            // instead of the set of keys
	keysURL  string            // where its metadata says that the keys are; "" for where they are
	moved    bool              // have the keys, to where a redirect says
	status   int               // with which the keys come; 0 for 200
	fault    error             // of the connection
	slow     time.Duration     // until a request is answered, if the client waits
	asked    int               // for its keys
}

func newIssuer(keys ...signer) *issuer {
	i := &issuer{url: issuerURL, metadata: "/.well-known/oauth-authorization-server"}
	i.publish(keys...)
	return i
}

func (i *issuer) publish(keys ...signer) {
	i.set(func() {
		i.keys = nil
		for _, k := range keys {
			i.keys = append(i.keys, jose.JSONWebKey{Key: k.public, KeyID: k.kid, Use: "sig"})
		}
	})
}

// set changes the issuer while it is in use.
func (i *issuer) set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

// askedFor is how often the keys were asked for.
func (i *issuer) askedFor() (n int) {
	i.set(func() { n = i.asked })
	return n
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case !r.Close && !i.moved:
		http.Error(w, "a connection would be left open", http.StatusBadRequest)
	case r.URL.Path == i.metadata:
		json.NewEncoder(w).Encode(map[string]string{"issuer": i.url, "jwks_uri": cmp.Or(i.keysURL, i.url+"/keys")})
	case i.moved && !strings.HasPrefix(r.URL.Path, "/moved"):
		http.Redirect(w, r, "/moved/keys", http.StatusFound)
	case strings.HasSuffix(r.URL.Path, "/keys") && i.document != nil:
		i.asked++
		w.Write(i.document)
	case strings.HasSuffix(r.URL.Path, "/keys"):
		i.asked++
		w.WriteHeader(cmp.Or(i.status, http.StatusOK))
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: i.keys})
	default:
		http.NotFound(w, r)
	}
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	var fault error
	var slow time.Duration
	i.set(func() { fault, slow = i.fault, i.slow })
	select {
	case <-time.After(slow):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if fault != nil {
		return nil, fault
	}
	w := httptest.NewRecorder()
	i.ServeHTTP(w, r)
	return w.Result(), nil
}

// signer is a key of an issuer.
type signer struct {
	alg     jose.SignatureAlgorithm
	kid     string
	private any
	public  crypto.PublicKey
	embeds  bool // its public key in its tokens
}

func newSigner(tb testing.TB, alg jose.SignatureAlgorithm, kid string) signer {
	tb.Helper()
	var private crypto.Signer
	var err error
	switch alg {
	case jose.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case jose.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.ES384:
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.RS256, jose.PS256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		err = errors.New("no such key in the tests")
	}
	if err != nil {
		tb.Fatalf("key for %s: %v", alg, err)
	}
	return signer{alg: alg, kid: kid, private: private, public: private.Public()}
}

// sign makes a token of claims.
func (s signer) sign(tb testing.TB, claims map[string]any) string {
	tb.Helper()
	opts := (&jose.SignerOptions{EmbedJWK: s.embeds}).WithType("at+jwt")
	key := jose.JSONWebKey{Key: s.private, KeyID: s.kid}
	with, err := jose.NewSigner(jose.SigningKey{Algorithm: s.alg, Key: key}, opts)
	if err != nil {
		tb.Fatalf("signer: %v", err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		tb.Fatalf("claims: %v", err)
	}
	signed, err := with.Sign(payload)
	if err != nil {
		tb.Fatalf("sign: %v", err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		tb.Fatalf("token: %v", err)
	}
	return token
}

// good are the claims of a token that is taken, with some changed, and those that
// are nil left out.
func good(changed map[string]any) map[string]any {
	claims := map[string]any{
		"iss": issuerURL, "aud": audience, "sub": "alice",
		"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
	}
	for name, value := range changed {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// taking makes an Authenticator that takes the tokens of an issuer.
func taking(tb testing.TB, i *issuer, scopes map[string]auth.Grant) *auth.Authenticator {
	tb.Helper()
	o, err := auth.NewOAuth(auth.OAuthOptions{Issuer: i.url, Audience: audience, Scopes: scopes, Transport: i})
	if err != nil {
		tb.Fatalf("NewOAuth: %v", err)
	}
	return &auth.Authenticator{OAuth: o}
}

// with is a request that carries a token.
func with(ctx context.Context, token string) *http.Request {
	r := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/mcp"}, Header: http.Header{}}
	r.Header.Set("Authorization", "Bearer "+token)
	return r.WithContext(ctx)
}

// code is the code of a *caller.Denied, "ok" for no error, and "unknown" for one that
// says that it could not be found out. It checks that no error repeats the token.
func code(tb testing.TB, err error, token string) string {
	tb.Helper()
	if err == nil {
		return "ok"
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 8 && strings.Contains(err.Error(), part) {
			tb.Errorf("the error repeats the token: %v", err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		tb.Errorf("the error is more than a line: %q", err)
	}
	denied, ok := errors.AsType[*caller.Denied](err)
	if !ok {
		return "unknown"
	}
	return denied.Code
}
