package cases_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// An issuer is an authorization server that has a key and signs whatever claims it is given.
type issuer struct {
	server *httptest.Server
	key    ed25519.PrivateKey
}

func startIssuer(t *testing.T) *issuer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: private}
	i.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/oauth-authorization-server":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.server.URL, i.server.URL+"/keys")
		case "/keys":
			_, _ = io.WriteString(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","use":"sig","alg":"EdDSA","x":"`+encoded(public)+`"}]}`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(i.server.Close)
	return i
}

// token is an access token with these claims, and those that every good one has.
func (i *issuer) token(t *testing.T, claims string) string {
	t.Helper()
	now := time.Now()
	all := map[string]any{"iss": i.server.URL, "aud": "https://example.com/ollama/mcp", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix()}
	claims = strings.ReplaceAll(claims, "{in40s}", fmt.Sprint(now.Add(40*time.Second).Unix()))
	if err := json.Unmarshal([]byte("{"+claims+"}"), &all); err != nil {
		t.Fatal(err)
	}
	for name, value := range all {
		if value == nil {
			delete(all, name)
		}
	}
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	signed := encoded([]byte(`{"alg":"EdDSA","kid":"k","typ":"at+jwt"}`)) + "." + encoded(payload)
	return signed + "." + encoded(ed25519.Sign(i.key, []byte(signed)))
}

func encoded(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }
