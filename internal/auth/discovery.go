package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	fetchTimeout = 5 * time.Second // for metadata and keys together
	maxDocument  = 1 << 20         // bytes of metadata, or of keys
)

// newClient returns a client that follows no redirects: it contacts only the URLs that the metadata
// names.
func newClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fetchKeys fetches the keys with which tokens are signed.
func (i *issuer) fetchKeys(ctx context.Context) ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	where, err := i.findKeys(ctx)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := i.fetch(ctx, where, &set); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		// RFC 7517, section 5: keys that are not understood are ignored.
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && key.Valid() && key.IsPublic() && key.Use != "enc" {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("keys: none of them can verify a signature")
	}
	return keys, nil
}

// findKeys finds where the issuer publishes its keys. The places of its metadata, and
// their order, are those of the Model Context Protocol: RFC 8414, section 3.1, and
// OpenID Connect Discovery, section 4, with the name before and after the path.
func (i *issuer) findKeys(ctx context.Context) (*url.URL, error) {
	places := []*url.URL{wellKnown("oauth-authorization-server", i.url), wellKnown("openid-configuration", i.url)}
	if strings.Trim(i.url.Path, "/") != "" {
		places = append(places, i.url.JoinPath(".well-known/openid-configuration"))
	}
	var reasons []string
	for _, place := range places {
		where, err := i.readMetadata(ctx, place)
		if err == nil {
			return where, nil
		}
		reasons = append(reasons, fmt.Sprintf("%s: %v", place.Path, err))
	}
	return nil, errors.New("metadata: " + strings.Join(reasons, "; "))
}

// readMetadata returns the URL of the keys according to one metadata document.
func (i *issuer) readMetadata(ctx context.Context, place *url.URL) (*url.URL, error) {
	var metadata struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := i.fetch(ctx, place, &metadata); err != nil {
		return nil, err
	}
	if !sameURL(metadata.Issuer, i.id) { // RFC 8414, section 3.3
		return nil, fmt.Errorf("it is that of the issuer %.200q; if that is the right one, set --oauth-issuer to it", metadata.Issuer)
	}
	i.spelling.Store(&metadata.Issuer)
	where, err := url.Parse(metadata.JWKSURI)
	if err != nil || !isHTTP(where) || !isSecure(where) {
		return nil, errors.New("jwks_uri is not an https URL")
	}
	return where, nil
}

// fetch gets a JSON document.
func (i *issuer) fetch(ctx context.Context, from *url.URL, document any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return errors.New("not a valid URL")
	}
	req.Header.Set("Accept", "application/json")
	req.Close = true // the next request is an hour away
	resp, err := i.client.Do(req)
	if err != nil {
		// The URL is left out, since callers need not see it.
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err
		}
		return err
	}
	defer resp.Body.Close()

	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return err
	case len(body) > maxDocument:
		return fmt.Errorf("more than %d bytes", maxDocument)
	case json.Unmarshal(body, document) != nil:
		return errors.New("not the JSON that was expected")
	}
	return nil
}

// wellKnown returns the URL of a metadata document about u: RFC 8414, section 3.1, and RFC 9728,
// section 3.1, put the name between host and path.
func wellKnown(name string, u *url.URL) *url.URL {
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/.well-known/" + name + strings.TrimSuffix(u.Path, "/")}
}
