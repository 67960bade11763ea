package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// retryInterval limits how often an issuer's keys are fetched, so that tokens with unknown
	// signatures cannot make this server flood the issuer.
	retryInterval = 5 * time.Second
	// keysFresh is how long keys are used before they are fetched again. After that, a key that
	// the issuer has withdrawn is no longer accepted.
	keysFresh = time.Hour
	// keysKept is how long keys are used while the issuer cannot be reached.
	keysKept = 24 * time.Hour
)

// algorithms are the signature algorithms that use a public key. HMAC is excluded, so that nobody can
// pass off a public key as its secret.
var algorithms = []jose.SignatureAlgorithm{
	jose.EdDSA, jose.ES256, jose.ES384, jose.ES512,
	jose.PS256, jose.PS384, jose.PS512, jose.RS256, jose.RS384, jose.RS512,
}

// issuer verifies the signatures of an authorization server, whose public keys it fetches when it
// needs them.
type issuer struct {
	id     string   // as configured
	url    *url.URL // id, parsed
	client *http.Client

	// spelling is the URL as the issuer spells it, or id until that is known.
	spelling atomic.Pointer[string]

	turn  chan struct{}          // full while the keys are being fetched
	known atomic.Pointer[keySet] // never nil
}

func newIssuer(address string, transport http.RoundTripper) (*issuer, error) {
	u, err := url.Parse(address)
	if err != nil || !isHTTP(u) || u.RawQuery != "" {
		return nil, errors.New("it is not the URL of a server") // and may hold a password
	}
	if !isSecure(u) {
		return nil, errors.New("it is not https, and not on the loopback interface")
	}
	i := &issuer{id: address, url: u, client: newClient(transport), turn: make(chan struct{}, 1)}
	i.known.Store(&keySet{})
	i.spelling.Store(&i.id)
	return i, nil
}

// name returns the URL of the issuer without the scheme, which is nearly always https.
func (i *issuer) name() string { return strings.TrimSuffix(i.url.Host+i.url.Path, "/") }

// verify returns the payload of a token that the issuer has signed. The error is a *caller.Denied if
// the issuer has not signed it, and another one if that cannot be determined now.
func (i *issuer) verify(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if _, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
		return nil, invalidToken("the token is signed with an algorithm that is not accepted")
	}
	if err != nil {
		return nil, invalidToken("the token is neither a known key nor a signed JWT")
	}
	keys := i.known.Load()
	payload, ok := keys.verify(jws)
	fresh := time.Since(keys.since) < keysFresh
	fetching := len(i.turn) > 0
	if ok && (fresh || fetching) { // it is enough if one caller waits for newer keys
		return payload, nil
	}
	if keys, err = i.refresh(ctx); err != nil {
		return nil, err
	}
	payload, ok = keys.verify(jws)
	switch {
	case ok:
		return payload, nil
	case keys.err != nil:
		return nil, fmt.Errorf("auth: issuer %s: %w", i.name(), keys.err)
	}
	return nil, invalidToken("the token is not signed by a key of the issuer")
}

// refresh fetches the issuer's keys, unless that was done within retryInterval. If it fails, the
// result has the previous keys and the reason; the error is that of ctx.
func (i *issuer) refresh(ctx context.Context) (*keySet, error) {
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("auth: wait for the issuer's keys: %w", ctx.Err())
	}
	known := i.known.Load()
	if time.Since(known.tried) < retryInterval {
		return known, nil
	}
	// The fetch has a time limit of its own instead of the caller's, since other callers wait for it
	// too, and callers that leave at once would cause a new one each time.
	keys, err := i.fetchKeys(context.WithoutCancel(ctx))
	next := &keySet{keys: keys, since: time.Now(), tried: time.Now(), err: err}
	if err != nil {
		next.keys, next.since = known.keys, known.since
	}
	i.known.Store(next)
	return next, nil
}

// keySet is what is known of an issuer's keys. It is immutable.
type keySet struct {
	keys  []jose.JSONWebKey
	since time.Time // when the keys were fetched
	tried time.Time // when they were last to be fetched
	err   error     // why that failed; nil if it did not
}

// verify returns the payload of a token if one of the keys has signed it.
func (s *keySet) verify(jws *jose.JSONWebSignature) ([]byte, bool) {
	if time.Since(s.since) > keysKept {
		return nil, false
	}
	header := jws.Signatures[0].Protected
	for _, key := range s.keys {
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := jws.Verify(key); err == nil {
			return payload, true
		}
	}
	return nil, false
}

// isHTTP reports whether u is an absolute HTTP URL without a password.
func isHTTP(u *url.URL) bool {
	return (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil && u.Fragment == ""
}

// isSecure reports whether responses from u cannot be changed in transit.
func isSecure(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}
