// Package auth authenticates the callers of HTTP requests.
//
// A caller proves who they are by an API key, an access token of an OAuth 2.1 issuer, or a
// client certificate that the TLS server has verified. The result is a caller.Caller. A
// request that must be refused gives a *caller.Denied; any other error means that the caller
// could not be authenticated now, and the same request may succeed later.
//
// No error repeats a credential. The server deletes the Authorization header afterwards: a
// token is for this server, and is never passed on.
package auth

import (
	"net/http"

	"ollama-mcp/internal/caller"
)

// Authenticator holds the accepted kinds of credentials. The zero Authenticator refuses every
// request.
type Authenticator struct {
	Keys  *Keys  // nil for none
	OAuth *OAuth // nil for none

	// Certificates accepts a client certificate in place of a key or a token. It must be off
	// if keys or tokens carry permissions, which a certificate would bypass.
	Certificates bool
}

// Authenticate returns the caller of a request. The error is a *caller.Denied, unless the
// issuer of tokens is needed and cannot be reached.
func (a *Authenticator) Authenticate(r *http.Request) (caller.Caller, error) {
	token, err := bearer(r)
	if err != nil {
		return caller.Caller{}, err
	}
	if token == "" {
		if a.Certificates {
			if c, ok := Certificate(r); ok {
				return c, nil
			}
		}
		return caller.Caller{}, &caller.Denied{Message: "credentials are needed, and none came with the request"}
	}
	if a.Keys != nil {
		if key, known := a.Keys.find(token); known {
			return key.admit()
		}
	}
	if a.OAuth == nil {
		return caller.Caller{}, invalidToken("the key is not known")
	}
	return a.OAuth.authenticate(r.Context(), token)
}

func invalidToken(message string) *caller.Denied {
	return &caller.Denied{Code: "invalid_token", Message: message}
}
