package auth

import (
	"net/http"
	"strings"

	"ollama-mcp/internal/caller"
)

// maxToken is the maximum length of a token in bytes: twice what proxies commonly allow, and small
// enough to decode before the signature has been verified.
const maxToken = 16 << 10

// bearer returns the token of a request, or "" if the request has no credentials. Credentials that
// are not exactly one well-formed token in the header are denied.
func bearer(r *http.Request) (string, error) {
	if r.URL.Query().Has("access_token") {
		// URLs are written to logs and histories.
		return "", invalidRequest("a token in the URL is not taken: send it in the Authorization header")
	}
	headers := r.Header.Values("Authorization")
	switch len(headers) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", invalidRequest("the request has more than one Authorization header")
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	token = strings.Trim(token, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return "", invalidRequest("the Authorization header has another scheme than Bearer")
	case !wellFormed(token):
		return "", invalidRequest("the Authorization header holds no well-formed token")
	case len(token) > maxToken:
		return "", invalidRequest("the token is too long")
	}
	return token, nil
}

// wellFormed reports whether s is a b64token of RFC 6750, section 2.1.
func wellFormed(s string) bool {
	s = strings.TrimRight(s, "=")
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			return false
		}
		return !strings.ContainsRune("-._~+/", c)
	})
}

func invalidRequest(message string) *caller.Denied {
	return &caller.Denied{Code: "invalid_request", Message: message}
}
