package auth_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"ollama-mcp/internal/auth"
)

// seen are the addresses that an issuer's transport was asked for.
type seen struct {
	*issuer
	urls map[string]bool
}

func (s seen) RoundTrip(r *http.Request) (*http.Response, error) {
	s.set(func() { s.urls[r.URL.String()] = true })
	return s.issuer.RoundTrip(r)
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// Each of these is signed with the issuer's own key, where it is signed at all: so nothing but
// its form is wrong. That a key of ours signs anything says that a check is missing.
func TestTokensOfAnOddFormAreDenied(t *testing.T) {
	signs := newSigner(t, jose.EdDSA, "1")
	asked := seen{newIssuer(signs), make(map[string]bool)}
	o, err := auth.NewOAuth(auth.OAuthOptions{Issuer: issuerURL, Audience: audience, Transport: asked})
	if err != nil {
		t.Fatal(err)
	}
	a := &auth.Authenticator{OAuth: o}
	compact := func(header, payload string) string {
		text := encode(header) + "." + encode(payload)
		return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(signs.private.(ed25519.PrivateKey), []byte(text)))
	}
	const plain = `{"alg":"EdDSA","kid":"1","typ":"at+jwt"}`
	raw, err := json.Marshal(good(nil))
	if err != nil {
		t.Fatal(err)
	}
	claims := string(raw)
	with1 := func(more string) string { return strings.TrimSuffix(claims, "}") + "," + more + "}" }
	without := func(name, instead string) string {
		raw, err := json.Marshal(good(map[string]any{name: nil}))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(string(raw), "}") + "," + instead + "}"
	}
	genuine := compact(plain, claims)
	if got, err := a.Authenticate(with(t.Context(), genuine)); err != nil || got.ID != "alice@login.example.com" {
		t.Fatalf("a good token: got %q, %v", got.ID, err)
	}
	part := strings.Split(genuine, ".")
	raw64 := func(s string) string { return strings.TrimRight(s, "=") }

	tokens := map[string]string{
		// The header.
		"algorithm NONE":                 compact(`{"alg":"NONE","kid":"1"}`, claims),
		"algorithm nOnE without a key":   encode(`{"alg":"nOnE"}`) + "." + part[1] + ".",
		"algorithm with a blank":         compact(`{"alg":"EdDSA ","kid":"1"}`, claims),
		"algorithm in small letters":     compact(`{"alg":"eddsa","kid":"1"}`, claims),
		"algorithm in a list":            compact(`{"alg":["EdDSA"],"kid":"1"}`, claims),
		"algorithm null":                 compact(`{"alg":null,"kid":"1"}`, claims),
		"algorithm of another kind":      compact(`{"alg":"ES256","kid":"1"}`, claims),
		"two algorithms":                 compact(`{"alg":"none","alg":"EdDSA","kid":"1"}`, claims),
		"algorithm in another case":      compact(`{"ALG":"EdDSA","kid":"1"}`, claims),
		"algorithm of an HMAC":           compact(`{"alg":"HS256","kid":"1"}`, claims),
		"key id of a file":               compact(`{"alg":"EdDSA","kid":"../../dev/null"}`, claims),
		"key id of a query":              compact(`{"alg":"EdDSA","kid":"1' or '1'='1"}`, claims),
		"key id that is a number":        compact(`{"alg":"EdDSA","kid":1}`, claims),
		"key id in a list":               compact(`{"alg":"EdDSA","kid":["1"]}`, claims),
		"two key ids":                    compact(`{"alg":"EdDSA","kid":"2","kid":"1"}`, claims),
		"critical and unknown":           compact(`{"alg":"EdDSA","kid":"1","crit":["exp"],"exp":1}`, claims),
		"payload that is not encoded":    compact(`{"alg":"EdDSA","kid":"1","crit":["b64"],"b64":false}`, claims),
		"header that is a list":          compact(`[{"alg":"EdDSA","kid":"1"}]`, claims),
		"header that is null":            compact(`null`, claims),
		"header that is a text":          compact(`"EdDSA"`, claims),
		"header with something behind":   compact(plain+`{}`, claims),
		"header that is empty":           "." + part[1] + "." + part[2],
		"keys elsewhere, unknown key id": compact(`{"alg":"EdDSA","kid":"9","jku":"https://evil.example/keys","x5u":"https://evil.example/cert"}`, claims),

		// The form of the whole.
		"four parts":                 genuine + "." + part[2],
		"five parts":                 genuine + ".AA.AA",
		"encrypted":                  encode(`{"alg":"dir","enc":"A128GCM"}`) + "..AA.AA.AA",
		"one part":                   part[0],
		"dots alone":                 "..",
		"detached payload":           part[0] + ".." + part[2],
		"standard base64":            part[0] + "." + part[1] + "." + strings.NewReplacer("-", "+", "_", "/").Replace(part[2]) + "==",
		"padding":                    part[0] + "." + part[1] + "=." + part[2],
		"signature cut":              part[0] + "." + part[1] + "." + part[2][:40],
		"signature with more":        genuine + "AAAA",
		"signature of zeros":         part[0] + "." + part[1] + "." + raw64(base64.URLEncoding.EncodeToString(make([]byte, 64))),
		"signature of another token": compact(plain, with1(`"x":1`))[:len(part[0])] + "." + encode(with1(`"admin":true`)) + "." + part[2],
		"a token in a token":         compact(`{"alg":"EdDSA","kid":"1","cty":"JWT"}`, genuine),

		// The payload.
		"payload that is null":       compact(plain, `null`),
		"payload that is a list":     compact(plain, `[`+claims+`]`),
		"payload that is a text":     compact(plain, `"alice"`),
		"payload that is no JSON":    compact(plain, `sub=alice`),
		"payload with more behind":   compact(plain, claims+claims),
		"payload that is deep":       compact(plain, with1(`"x":`+strings.Repeat("[", 11000)+strings.Repeat("]", 11000))),
		"two subjects":               compact(plain, with1(`"sub":"root"`)),
		"two audiences":              compact(plain, with1(`"aud":"x"`)),
		"two times of expiry":        compact(plain, with1(`"exp":9999999999`)),
		"expiry as digits in a text": compact(plain, without("exp", `"exp":"9999999999"`)),
		"expiry true":                compact(plain, without("exp", `"exp":true`)),
		"expiry null":                compact(plain, without("exp", `"exp":null`)),
		"expiry in a list":           compact(plain, without("exp", `"exp":[9999999999]`)),
		"expiry before all time":     compact(plain, without("exp", `"exp":-1`)),
		"expiry in another case":     compact(plain, without("exp", `"EXP":9999999999`)),
		"expiry beyond numbers":      compact(plain, without("exp", `"exp":1e999`)),
		"issued as a text":           compact(plain, without("iat", `"iat":"`+time.Now().Format(time.RFC3339)+`"`)),
		"issuers in a list":          compact(plain, without("iss", `"iss":["`+issuerURL+`"]`)),
		"issuer in capitals":         compact(plain, without("iss", `"iss":"HTTPS://LOGIN.EXAMPLE.COM"`)),
		"issuer without TLS":         compact(plain, without("iss", `"iss":"http://login.example.com"`)),
		"audience in an object":      compact(plain, without("aud", `"aud":{"0":"`+audience+`"}`)),
		"audiences in a list of one": compact(plain, without("aud", `"aud":[["`+audience+`"]]`)),
		"audience that begins so":    compact(plain, without("aud", `"aud":"`+audience+`.evil.example"`)),
		"audience in a text of many": compact(plain, without("aud", `"aud":"x `+audience+`"`)),
		"audience of all":            compact(plain, without("aud", `"aud":"*"`)),
		"subject in an object":       compact(plain, without("sub", `"sub":{"id":"alice"}`)),
		"subject that is null":       compact(plain, without("sub", `"sub":null`)),
		"subject that is empty":      compact(plain, without("sub", `"sub":""`)),
		"subject that turns around":  compact(plain, without("sub", `"sub":"ecila\u202e"`)),
		"subject with a NUL":         compact(plain, without("sub", `"sub":"alice\u0000"`)),
		"scope in an object":         compact(plain, with1(`"scope":{"chat":true}`)),
		"scopes of numbers":          compact(plain, with1(`"scp":[1]`)),
	}
	if len(tokens) < 60 {
		t.Errorf("there are only %d tokens", len(tokens))
	}
	for name, token := range tokens {
		got, err := a.Authenticate(with(t.Context(), token))
		if c := code(t, err, token); c != "invalid_token" && c != "invalid_request" || got.ID != "" {
			t.Errorf("%s: got %q, %v, want it denied", name, got.ID, err)
		}
	}
	for url := range asked.urls {
		if !strings.HasPrefix(url, issuerURL+"/") {
			t.Errorf("a token had %s asked for", url)
		}
	}
}
