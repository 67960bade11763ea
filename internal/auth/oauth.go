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
	"sync/atomic"

	"ollama-mcp/internal/caller"
)

// OAuthOptions say which access tokens are accepted, and what their scopes permit.
type OAuthOptions struct {
	// Issuer is the URL of the authorization server, as its tokens and its metadata spell it;
	// a slash at the end does not matter. It must be https, except on the loopback interface.
	Issuer string

	// Audience is what tokens must name as what they are for. If it is the URL of an endpoint
	// of this server, the URL of the other endpoint is accepted too.
	Audience string

	// Resource is the URL by which clients reach this server; "" means Audience,
	// which then has to be one.
	Resource string

	// Scopes are as in SetScopes.
	Scopes map[string]Grant

	// Transport asks the issuer; nil means http.DefaultTransport.
	Transport http.RoundTripper
}

// OAuth takes access tokens that are JWTs signed by an issuer, as a resource server
// of OAuth 2.1 does. Use NewOAuth to make one.
type OAuth struct {
	audiences []string // that are accepted; the configured one is the first
	resource  *url.URL
	issuer    *issuer
	scopes    atomic.Pointer[scopes]
}

// NewOAuth checks the options, and names the one that is wrong. It does not ask the
// issuer, who may be down: that is left to the first token.
func NewOAuth(opts OAuthOptions) (*OAuth, error) {
	if opts.Audience == "" {
		return nil, errors.New("auth: option Audience is empty: any token of the issuer would do")
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

// SetScopes says from now on what a token may by the scopes it has: all that any of
// them allows, and nothing if it has none of these. With nil, a token of the right
// issuer and audience may use all tools and models, but is no Admin. An error names a
// scope that there cannot be, and leaves all as it was.
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

// authenticate is Authenticator.Authenticate for a token. The ID of the caller is the
// token's subject with the issuer behind it, so that it is not taken for the name of
// a key, or the subject of another issuer where things are kept for long.
func (o *OAuth) authenticate(ctx context.Context, token string) (caller.Caller, error) {
	payload, err := o.issuer.verify(ctx, token)
	if err != nil {
		return caller.Caller{}, err
	}
	claims, err := readClaims(payload, o.issuer.id, o.audiences)
	if err != nil {
		return caller.Caller{}, err
	}
	c, err := o.scopes.Load().grant(slices.Concat(claims.Scope, claims.Scp))
	if err != nil {
		return caller.Caller{}, err
	}
	c.ID = claims.Subject + "@" + o.issuer.name()
	c.Tenant = c.ID
	return c, nil
}
