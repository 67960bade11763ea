package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"ollama-mcp/internal/caller"
)

// OAuthOptions configure which access tokens are accepted, and what their scopes permit.
type OAuthOptions struct {
	// Issuer is the URL of the authorization server, as its tokens and its metadata spell it;
	// a slash at the end does not matter. It must be https, except on the loopback interface.
	Issuer string

	// Audience is the audience that tokens must have. If it is the URL of an endpoint of this
	// server, the URL of the other endpoint is accepted too.
	Audience string

	// Resource is the URL by which clients reach this server; "" means Audience, which must be a
	// URL then.
	Resource string

	// Scopes are as in SetScopes.
	Scopes map[string]Grant

	// Transport carries requests to the issuer; nil means http.DefaultTransport.
	Transport http.RoundTripper
}

// OAuth accepts access tokens that are JWTs signed by an issuer, as a resource server of OAuth 2.1
// does. Use NewOAuth to create one.
type OAuth struct {
	audiences []string // accepted audiences, the configured one first
	resource  *url.URL
	issuer    *issuer
	scopes    atomic.Pointer[scopes]
}

// NewOAuth checks the options, and returns an error that names an invalid one. It does not contact
// the issuer, which may be down: the first token does.
func NewOAuth(opts OAuthOptions) (*OAuth, error) {
	if opts.Audience == "" {
		return nil, errors.New("auth: option Audience is empty: any token of the issuer would be accepted")
	}
	resource, err := url.Parse(cmp.Or(opts.Resource, opts.Audience))
	if err != nil || !isHTTP(resource) || resource.RawQuery != "" {
		return nil, errors.New("auth: option Resource, or Audience where it is empty, is not the URL of a server")
	}
	issuer, err := newIssuer(opts.Issuer, opts.Transport)
	if err != nil {
		return nil, fmt.Errorf("auth: option Issuer: %w", err)
	}
	o := &OAuth{audiences: []string{opts.Audience}, resource: resource, issuer: issuer}
	if sameURL(opts.Audience, resource.String()) {
		o.audiences = append(o.audiences, o.resourceAt("/mcp").String(), o.resourceAt("/sse").String())
	}
	if err := o.SetScopes(opts.Scopes); err != nil {
		return nil, err
	}
	return o, nil
}

// SetScopes sets what tokens are allowed to do by their scopes: everything that any one of their scopes
// permits, and nothing if they have none of the scopes given. With nil, a token of the right issuer
// and audience may use all tools and models, but is not an administrator. If the name of a scope is
// invalid, SetScopes returns an error that names it and changes nothing.
func (o *OAuth) SetScopes(grants map[string]Grant) error {
	for scope := range grants {
		if !isScope(scope) {
			return fmt.Errorf("auth: option Scopes: %q is not the name of a scope", scope)
		}
	}
	s := scopes(maps.Clone(grants))
	o.scopes.Store(&s)
	return nil
}

// IsCaller reports whether a name has the form of the IDs that tokens give their callers. No key
// may have such a name, or it would share everything that its caller has with a subject of the
// issuer.
func (o *OAuth) IsCaller(name string) bool {
	subject, ok := strings.CutSuffix(name, "@"+o.issuer.name())
	return ok && subject != ""
}

// authenticate returns the caller who presents a token. The caller's ID is the subject of the token
// followed by the issuer, so that it cannot be confused with the name of a key or with a subject of
// another issuer.
// The caller is valid until none of its scopes permits anything: an expired token does not end the
// work that it has begun, but its streams.
func (o *OAuth) authenticate(ctx context.Context, token string) (caller.Caller, error) {
	payload, err := o.issuer.verify(ctx, token)
	if err != nil {
		return caller.Caller{}, err
	}
	claims, err := readClaims(payload, o.issuer.id, o.audiences)
	if err != nil {
		return caller.Caller{}, err
	}
	names := slices.Concat(claims.Scope, claims.Scp)
	c, err := o.scopes.Load().grant(names)
	if err != nil {
		return caller.Caller{}, err
	}
	c.Valid = func() bool { _, err := o.scopes.Load().grant(names); return err == nil }
	c.Expires = claims.Expiry.Time().Add(leeway)
	c.ID = claims.Subject + "@" + o.issuer.name()
	c.Tenant = c.ID
	return c, nil
}
