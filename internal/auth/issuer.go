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
	// retryInterval limits how often an issuer is asked for its keys, so that tokens with
	// unknown signatures cannot make us flood it.
	retryInterval = 5 * time.Second
	// keysFresh is how long keys are used before they are asked for again: a key
	// that the issuer has withdrawn is then no longer taken.
	keysFresh = time.Hour
	// keysKept is how long keys are used while the issuer does not answer.
	keysKept = 24 * time.Hour
)

// algorithms are those that can be verified with a public key. That HMAC is not
// among them keeps a public key from being used as its secret.
var algorithms = []jose.SignatureAlgorithm{
	jose.EdDSA, jose.ES256, jose.ES384, jose.ES512,
	jose.PS256, jose.PS384, jose.PS512, jose.RS256, jose.RS384, jose.RS512,
}

// issuer verifies the signatures of an authorization server, whose public keys it
// asks for when it needs them.
type issuer struct {
	id     string   // as it was given
	url    *url.URL // the same
	client *http.Client

	// spelling is how the issuer spells its URL, or id as long as that is not known.
	spelling atomic.Pointer[string]

	turn  chan struct{}          // full while somebody asks the issuer
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

// name is the URL of the issuer without the scheme, which is nearly always https.
func (i *issuer) name() string { return strings.TrimSuffix(i.url.Host+i.url.Path, "/") }

// verify is the payload of a token that the issuer has signed. It fails with a
// *caller.Denied if the issuer has not, and otherwise if that cannot be known.
func (i *issuer) verify(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if _, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
		return nil, invalidToken("the token is signed by an algorithm that is not taken")
	}
	if err != nil {
		return nil, invalidToken("the token is neither a known key nor a signed JWT")
	}
	keys := i.known.Load()
	payload, ok := keys.verify(jws)
	fresh := time.Since(keys.since) < keysFresh
	asking := len(i.turn) > 0
	if ok && (fresh || asking) { // one caller who waits for newer keys is enough
		return payload, nil
	}
	if keys, err = i.ask(ctx); err != nil {
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

// ask asks the issuer for its keys, unless that has just been done. When it fails
// the result holds the keys from before and the reason; the error is that of ctx.
func (i *issuer) ask(ctx context.Context) (*keySet, error) {
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("auth: wait for the issuer's keys: %w", ctx.Err())
	}
	known := i.known.Load()
	if time.Since(known.asked) < retryInterval {
		return known, nil
	}
	// Others wait for this too, and callers who leave at once would otherwise have
	// the issuer asked each time. It has a time limit of its own.
	keys, err := i.fetchKeys(context.WithoutCancel(ctx))
	next := &keySet{keys: keys, since: time.Now(), asked: time.Now(), err: err}
	if err != nil {
		next.keys, next.since = known.keys, known.since
	}
	i.known.Store(next)
	return next, nil
}

// keySet is what is known of an issuer's keys. It does not change.
type keySet struct {
	keys  []jose.JSONWebKey
	since time.Time // when the keys were had
	asked time.Time // when the issuer was last asked
	err   error     // why it then gave no keys
}

// verify tries the keys that can have signed a token.
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

// isHTTP tells whether u is the absolute URL of something on the web, and holds no
// password.
func isHTTP(u *url.URL) bool {
	return (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil && u.Fragment == ""
}

// isSecure tells whether what u answers cannot be changed on the way.
func isSecure(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}
