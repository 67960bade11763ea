package auth_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"ollama-mcp/internal/auth"
)

func TestTokensOfEveryKindOfKeyAreTaken(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.EdDSA} {
		for _, kid := range []string{"1", ""} {
			signs := newSigner(t, alg, kid)
			other := newSigner(t, jose.ES256, kid)
			token := signs.sign(t, good(nil))
			got, err := taking(t, newIssuer(other, signs), nil).Authenticate(with(t.Context(), token))
			if err != nil || got.ID != "alice@login.example.com" {
				t.Errorf("%s, key id %q: got %q, %v", alg, kid, got.ID, err)
			}
		}
	}
}

func TestForgedTokensAreDenied(t *testing.T) {
	signs := newSigner(t, jose.RS256, "1")
	renamed := signs
	renamed.kid = "2"
	forger := newSigner(t, jose.RS256, "1")
	a := taking(t, newIssuer(signs), nil)
	genuine := signs.sign(t, good(nil))

	parts := strings.Split(genuine, ".")
	encode := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	publicKey, err := x509.MarshalPKIXPublicKey(signs.public)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicKey})
	embedding := forger
	embedding.embeds = true

	for name, token := range map[string]string{
		"signed by another":            forger.sign(t, good(nil)),
		"names another key":            renamed.sign(t, good(nil)),
		"other claims":                 parts[0] + "." + encode(good(map[string]any{"sub": "root"})) + "." + parts[2],
		"no signature":                 parts[0] + "." + parts[1] + ".",
		"two parts":                    parts[0] + "." + parts[1],
		"algorithm none":               encode(map[string]string{"alg": "none"}) + "." + parts[1] + ".",
		"no algorithm":                 encode(map[string]string{"kid": "1"}) + "." + parts[1] + "." + parts[2],
		"HMAC with the public key":     signer{alg: jose.HS256, kid: "1", private: inPEM}.sign(t, good(nil)),
		"brings its own key":           embedding.sign(t, good(nil)),
		"header that is not JSON":      "AAAA." + parts[1] + "." + parts[2],
		"signature that is not base64": parts[0] + "." + parts[1] + ".~~~~",
	} {
		if got, err := a.Authenticate(with(t.Context(), token)); code(t, err, token) != "invalid_token" {
			t.Errorf("%s: got %q, %v, want invalid_token", name, got.ID, err)
		}
	}
}

func TestSharedSecretsSignNothing(t *testing.T) {
	i := newIssuer(newSigner(t, jose.EdDSA, "1"))
	shared := jose.JSONWebKey{Key: []byte("a secret of all, of thirty-two bytes or more"), KeyID: "2", Algorithm: "HS256"}
	i.keys = append(i.keys, shared)
	token := signer{alg: jose.HS256, kid: "2", private: shared.Key}.sign(t, good(nil))
	_, err := taking(t, i, nil).Authenticate(with(t.Context(), token))
	if code(t, err, token) != "invalid_token" || !strings.Contains(err.Error(), "algorithm") {
		t.Errorf("got %v, want invalid_token for its algorithm", err)
	}
}

func TestKeyIsUsedOnlyForItsAlgorithm(t *testing.T) {
	signs := newSigner(t, jose.RS256, "1")
	i := newIssuer()
	i.set(func() { i.keys = []jose.JSONWebKey{{Key: signs.public, KeyID: "1", Algorithm: "PS256"}} })
	token := signs.sign(t, good(nil))
	if _, err := taking(t, i, nil).Authenticate(with(t.Context(), token)); code(t, err, token) != "invalid_token" {
		t.Errorf("RS256 with a key for PS256: got %v, want invalid_token", err)
	}
}

func TestKeysThatAreNotUnderstoodArePassedOver(t *testing.T) {
	signs := newSigner(t, jose.EdDSA, "1")
	known, err := json.Marshal(jose.JSONWebKey{Key: signs.public, KeyID: "1"})
	if err != nil {
		t.Fatal(err)
	}
	i := newIssuer()
	i.document = []byte(`{"keys": [null, 7, {"kty": "AKP", "kid": "1"}, {"kty": "RSA"},
		{"kty": "oct", "kid": "1", "k": "c2VjcmV0"}, ` + string(known) + `]}`)
	token := signs.sign(t, good(nil))
	if _, err := taking(t, i, nil).Authenticate(with(t.Context(), token)); err != nil {
		t.Errorf("got %v, want the token to be taken", err)
	}
}

func TestNewKeysOfTheIssuerAreTakenAndWithdrawnOnesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := newSigner(t, jose.ES256, "1"), newSigner(t, jose.ES256, "2")
		i := newIssuer(before)
		a := taking(t, i, nil)
		try := func(s signer) string {
			token := s.sign(t, good(nil))
			_, err := a.Authenticate(with(t.Context(), token))
			return code(t, err, token)
		}
		if got := try(before); got != "ok" {
			t.Fatalf("before: got %q", got)
		}
		time.Sleep(5 * time.Second)
		i.publish(before, after)
		if got := try(after); got != "ok" {
			t.Errorf("a new key: got %q, want it taken at once", got)
		}
		i.publish(after)
		if got := try(before); got != "ok" {
			t.Errorf("a key that has just been withdrawn: got %q, want it taken from memory", got)
		}
		time.Sleep(time.Hour + time.Second)
		if got := try(before); got != "invalid_token" {
			t.Errorf("an hour later: got %q, want invalid_token", got)
		}
		if got := try(after); got != "ok" {
			t.Errorf("the key that is left: got %q", got)
		}
	})
}

func TestBadTokensCannotFloodTheIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signs, forger := newSigner(t, jose.ES256, "1"), newSigner(t, jose.ES256, "x")
		i := newIssuer(signs)
		a := taking(t, i, nil)
		token, forged := signs.sign(t, good(nil)), forger.sign(t, good(nil))
		for range 100 {
			if _, err := a.Authenticate(with(t.Context(), forged)); code(t, err, forged) != "invalid_token" {
				t.Fatalf("forged: got %v, want invalid_token", err)
			}
			if _, err := a.Authenticate(with(t.Context(), token)); err != nil {
				t.Fatalf("good one among them: %v", err)
			}
			time.Sleep(time.Second)
		}
		if n := i.askedFor(); n != 20 {
			t.Errorf("asked %d times in 100 s, want 20: every 5 s", n)
		}
	})
}

func TestIssuerThatIsDownDeniesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signs := newSigner(t, jose.ES256, "1")
		token := signs.sign(t, good(map[string]any{"exp": time.Now().Add(72 * time.Hour).Unix()}))
		i := newIssuer(signs)
		a := taking(t, i, nil)
		try := func() string {
			_, err := a.Authenticate(with(t.Context(), token))
			return code(t, err, token)
		}

		i.set(func() { i.fault = errors.New("connection refused") })
		if got := try(); got != "unknown" {
			t.Errorf("down from the start: got %q, want an error that is no Denied", got)
		}
		i.set(func() { i.fault = nil })
		if got := try(); got != "unknown" {
			t.Errorf("at once after it failed: got %q, want it left alone", got)
		}
		time.Sleep(5 * time.Second)
		if got := try(); got != "ok" {
			t.Errorf("up again: got %q", got)
		}

		i.set(func() { i.slow = time.Hour })
		time.Sleep(2 * time.Hour)
		if got := try(); got != "ok" {
			t.Errorf("down for two hours: got %q, want the keys from before to do", got)
		}
		time.Sleep(23 * time.Hour)
		if got := try(); got != "unknown" {
			t.Errorf("down for more than a day: got %q, want an error that is no Denied", got)
		}
	})
}

func TestManyRequestsAskTheIssuerOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signs := newSigner(t, jose.ES256, "1")
		i := newIssuer(signs)
		a := taking(t, i, nil)
		token := signs.sign(t, good(nil))
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if _, err := a.Authenticate(with(t.Context(), token)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := i.askedFor(); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
	})
}

func TestOnlyOneCallerWaitsForNewerKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signs := newSigner(t, jose.ES256, "1")
		token := signs.sign(t, good(map[string]any{"exp": time.Now().Add(72 * time.Hour).Unix()}))
		i := newIssuer(signs)
		a := taking(t, i, nil)
		took := func() time.Duration {
			start := time.Now()
			if _, err := a.Authenticate(with(t.Context(), token)); err != nil {
				t.Error(err)
			}
			return time.Since(start)
		}
		took()
		time.Sleep(2 * time.Hour)
		i.set(func() { i.slow = time.Hour })

		var first sync.WaitGroup
		first.Go(func() {
			if d := took(); d != 5*time.Second {
				t.Errorf("the first waited %v, want the 5s that the issuer gets", d)
			}
		})
		synctest.Wait()
		if d := took(); d != 0 {
			t.Errorf("the second waited %v, want it served by the keys there are", d)
		}
		first.Wait()
	})
}

func TestCallerWhoLeavesDoesNotWaitForTheIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signs := newSigner(t, jose.ES256, "1")
		i := newIssuer(signs)
		i.slow = time.Hour
		a := taking(t, i, nil)
		token := signs.sign(t, good(nil))
		var first sync.WaitGroup
		first.Go(func() {
			if _, err := a.Authenticate(with(t.Context(), token)); code(t, err, token) != "unknown" {
				t.Errorf("who asks the issuer: got %v, want an error that is no Denied", err)
			}
		})
		synctest.Wait()
		start := time.Now()
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := a.Authenticate(with(ctx, token)); !errors.Is(err, ctx.Err()) || time.Since(start) != time.Second {
			t.Errorf("who leaves: got %v after %v, want %v after 1s", err, time.Since(start), ctx.Err())
		}
		first.Wait()
	})
}

func TestCallersWhoLeaveDoNotHaveTheIssuerAskedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forger := newSigner(t, jose.ES256, "x")
		i := newIssuer(newSigner(t, jose.ES256, "1"))
		i.slow = time.Second // for its metadata, and again for its keys
		a := taking(t, i, nil)
		forged := forger.sign(t, good(nil))
		for range 10 {
			ctx, leave := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			if _, err := a.Authenticate(with(ctx, forged)); code(t, err, forged) != "invalid_token" {
				t.Errorf("got %v, want invalid_token", err)
			}
			leave()
		}
		if n := i.askedFor(); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
	})
}

func TestKeysAreFoundByEitherMetadata(t *testing.T) {
	signs := newSigner(t, jose.ES256, "1")
	for _, c := range []struct{ issuer, metadata, want string }{
		{issuerURL, "/.well-known/oauth-authorization-server", "ok"},
		{issuerURL, "/.well-known/openid-configuration", "ok"},
		{issuerURL + "/", "/.well-known/openid-configuration", "ok"},
		{issuerURL + "/realms/a", "/.well-known/oauth-authorization-server/realms/a", "ok"},
		{issuerURL + "/realms/a", "/.well-known/openid-configuration/realms/a", "ok"},
		{issuerURL + "/realms/a", "/realms/a/.well-known/openid-configuration", "ok"},
		{issuerURL + "/realms/a/", "/realms/a/.well-known/openid-configuration", "ok"},
		{issuerURL + "/realms/a", "/.well-known/openid-configuration", "unknown"},
	} {
		i := newIssuer(signs)
		i.url, i.metadata = c.issuer, c.metadata
		token := signs.sign(t, good(map[string]any{"iss": c.issuer}))
		_, err := taking(t, i, nil).Authenticate(with(t.Context(), token))
		if code(t, err, token) != c.want {
			t.Errorf("%s at %s: got %v, want %q", c.issuer, c.metadata, err, c.want)
		}
	}
}

func TestUnsuitableAnswersOfTheIssuerAreErrors(t *testing.T) {
	signs := newSigner(t, jose.ES256, "1")
	token := signs.sign(t, good(nil))
	document := func(keys []jose.JSONWebKey) []byte {
		text, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, spoil := range map[string]func(*issuer){
		"no metadata":            func(i *issuer) { i.metadata = "/elsewhere" },
		"metadata of another":    func(i *issuer) { i.url = "https://evil.example" },
		"keys not over TLS":      func(i *issuer) { i.keysURL = "http://login.example.com/keys" },
		"redirect to the keys":   func(i *issuer) { i.moved = true },
		"no keys":                func(i *issuer) { i.keys = []jose.JSONWebKey{} },
		"keys with an error":     func(i *issuer) { i.status = http.StatusInternalServerError },
		"only a private key":     func(i *issuer) { i.keys[0].Key = signs.private },
		"only keys to encrypt":   func(i *issuer) { i.keys[0].Use = "enc" },
		"keys that are not JSON": func(i *issuer) { i.document = []byte("<html>") },
		"no end of keys":         func(i *issuer) { i.document = append(document(i.keys), bytes.Repeat([]byte(" "), 1<<20)...) },
	} {
		i := newIssuer(signs)
		a := taking(t, i, nil)
		i.set(func() { spoil(i) })
		if _, err := a.Authenticate(with(t.Context(), token)); code(t, err, token) != "unknown" {
			t.Errorf("%s: got %v, want an error that is no Denied", name, err)
		}
	}
}

func TestIssuerIsAskedOverTheNetwork(t *testing.T) {
	signs := newSigner(t, jose.EdDSA, "1")
	i := newIssuer(signs)
	plain := httptest.NewServer(i)
	defer plain.Close()
	i.set(func() { i.url = plain.URL })

	o, err := auth.NewOAuth(auth.OAuthOptions{Issuer: plain.URL, Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	a := &auth.Authenticator{OAuth: o}
	token := signs.sign(t, good(map[string]any{"iss": plain.URL}))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := a.Authenticate(with(t.Context(), token)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := i.askedFor(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func BenchmarkToken(b *testing.B) {
	for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA} {
		b.Run(string(alg), func(b *testing.B) {
			signs := newSigner(b, alg, "1")
			a := taking(b, newIssuer(signs), nil)
			r := with(b.Context(), signs.sign(b, good(nil)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
