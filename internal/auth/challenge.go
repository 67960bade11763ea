package auth

import (
	"net/http"
	"net/url"
	"strings"

	"ollama-mcp/internal/caller"
)

// Metadata tells clients where to get a token. It is the document that a resource server
// publishes according to RFC 9728, section 2.
type Metadata struct {
	Resource               string   `json:"resource"`
	AuthorizationServers   []string `json:"authorization_servers"`
	ScopesSupported        []string `json:"scopes_supported,omitempty"`
	BearerMethodsSupported []string `json:"bearer_methods_supported"`
	ResourceName           string   `json:"resource_name,omitempty"`
}

// metadataPath is where the documents are, followed by the paths of resources.
const metadataPath = "/.well-known/oauth-protected-resource"

// Metadata returns the document at a path of this server, or false if there is none; name is the
// server's human-readable name. Streamable HTTP and SSE are separate resources, since clients
// insist that the document names the URL that they use. A document is found under the path of its
// resource as clients know it, and under the local path, which a proxy may have shortened.
func (o *OAuth) Metadata(path, name string) (Metadata, bool) {
	for _, endpoint := range []string{"/mcp", "/sse"} {
		resource := o.resourceAt(endpoint)
		if path == wellKnown("oauth-protected-resource", resource).Path || path == metadataPath+endpoint {
			return o.metadataOf(resource, name), true
		}
	}
	return o.metadataOf(o.resource, name), path == metadataPath
}

func (o *OAuth) metadataOf(resource *url.URL, name string) Metadata {
	return Metadata{
		Resource:               resource.String(),
		AuthorizationServers:   []string{*o.issuer.spelling.Load()},
		ScopesSupported:        o.scopes.Load().names(),
		BearerMethodsSupported: []string{"header"},
		ResourceName:           name,
	}
}

// resourceAt returns the URL by which clients know a path of this server. If the configured resource
// is one endpoint, the other is next to it; otherwise the resource stands for both.
func (o *OAuth) resourceAt(path string) *url.URL {
	ours := "/mcp"
	if path = strings.TrimSuffix(path, "/"); path == "/sse" || path == "/message" {
		ours = "/sse"
	}
	known := strings.TrimSuffix(o.resource.Path, "/")
	for _, endpoint := range []string{"/mcp", "/sse"} {
		if base, ok := strings.CutSuffix(known, endpoint); ok && endpoint != ours {
			return &url.URL{Scheme: o.resource.Scheme, Host: o.resource.Host, Path: base + ours}
		}
	}
	return o.resource
}

// Challenge is the value of the WWW-Authenticate header of a response that denies a
// request: RFC 6750, section 3, and, where tokens are accepted, RFC 9728, section 5.1.
func (a *Authenticator) Challenge(r *http.Request, d *caller.Denied) string {
	var params []string
	add := func(name, value string) {
		if value != "" {
			params = append(params, name+`="`+quotable(value)+`"`)
		}
	}
	add("error", d.Code)
	if d.Code != "" { // a request without credentials has done nothing wrong
		add("error_description", d.Message)
	}
	add("scope", d.Scope)
	if a.OAuth != nil {
		add("resource_metadata", wellKnown("oauth-protected-resource", a.OAuth.resourceAt(r.URL.Path)).String())
	}
	if params == nil {
		return "Bearer"
	}
	return "Bearer " + strings.Join(params, ", ")
}

// quotable replaces with ? every character that RFC 6750 does not allow between quotes: the quote
// itself, the backslash, and anything that is not printable ASCII.
func quotable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return '?'
		}
		return c
	}, s)
}
