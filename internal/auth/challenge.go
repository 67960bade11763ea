package auth

import (
	"strings"

	"ollama-mcp/internal/caller"
)

// Metadata tells clients where to get a token. It is the document that a resource
// server publishes according to RFC 9728, section 2.
type Metadata struct {
	Resource               string   `json:"resource"`
	AuthorizationServers   []string `json:"authorization_servers"`
	ScopesSupported        []string `json:"scopes_supported,omitempty"`
	BearerMethodsSupported []string `json:"bearer_methods_supported"`
	ResourceName           string   `json:"resource_name,omitempty"`
}

// Metadata is the document for this server, whose name for people is name.
func (o *OAuth) Metadata(name string) Metadata {
	return Metadata{
		Resource:               o.resource.String(),
		AuthorizationServers:   []string{o.issuer.id},
		ScopesSupported:        o.scopes.Load().names(),
		BearerMethodsSupported: []string{"header"},
		ResourceName:           name,
	}
}

// Challenge is the value of the WWW-Authenticate header of a response that denies a
// request: RFC 6750, section 3, and, where tokens are taken, RFC 9728, section 5.1.
func (a *Authenticator) Challenge(d *caller.Denied) string {
	var params []string
	add := func(name, value string) {
		if value != "" {
			params = append(params, name+`="`+quotable(value)+`"`)
		}
	}
	add("error", d.Code)
	if d.Code != "" { // of who sent no credentials nothing is said to be wrong
		add("error_description", d.Message)
	}
	add("scope", d.Scope)
	if a.OAuth != nil {
		add("resource_metadata", wellKnown("oauth-protected-resource", a.OAuth.resource).String())
	}
	if params == nil {
		return "Bearer"
	}
	return "Bearer " + strings.Join(params, ", ")
}

// quotable puts a ? for all that RFC 6750 does not allow between quotes: the quote
// itself, the backslash, and what is not printable ASCII.
func quotable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return '?'
		}
		return c
	}, s)
}
