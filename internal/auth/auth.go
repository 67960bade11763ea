// Package auth says who an HTTP request comes from, or that it may not be served.
//
// There are three proofs: an API key, an access token of an OAuth 2.1 issuer, and a
// client certificate that the TLS server has verified. What they yield is a
// caller.Caller, and what they fail with is a *caller.Denied; any other error means
// that it could not be found out, and that the same request may succeed later.
//
// No error repeats a credential. Who serves the request deletes its Authorization
// header afterwards: a token is for this server and travels no further.
package auth

import (
	"net/http"

	"ollama-mcp/internal/caller"
)

// Authenticator knows the proofs that are taken. The zero Authenticator takes none,
// and denies every request.
type Authenticator struct {
	Keys  *Keys  // nil for none
	OAuth *OAuth // nil for none

	// Certificates lets a caller who shows a client certificate do without a key or
	// a token. Leave it off where these say what each caller may.
	Certificates bool
}

// Authenticate says who a request comes from. The error is a *caller.Denied, unless
// the issuer of tokens is needed and cannot be asked.
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
		if c, ok := a.Keys.find(token); ok {
			return c, nil
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
