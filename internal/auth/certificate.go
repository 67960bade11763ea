package auth

import (
	"crypto/x509"
	"net/http"
	"time"

	"ollama-mcp/internal/caller"
)

// Certificate returns the caller named by the client certificate of a request, who may use all
// tools and models. It returns false unless the TLS server has verified the certificate, the
// certificate has a name, and it has not expired since, as it may on a connection that is kept.
//
// The ID, which is also the Tenant, begins with the kind of name, as in CN=ci or
// URI:spiffe://example.org/ci, so that it cannot be mistaken for the name of a key.
func Certificate(r *http.Request) (caller.Caller, bool) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.VerifiedChains[0]) == 0 {
		return caller.Caller{}, false
	}
	shown := r.TLS.VerifiedChains[0][0]
	name := nameOf(shown)
	return caller.Caller{ID: name, Tenant: name, Expires: shown.NotAfter}, name != "" && !time.Now().After(shown.NotAfter)
}

// nameOf returns the common name of a certificate or, if it has none, the first of its other names.
func nameOf(c *x509.Certificate) string {
	switch {
	case c.Subject.CommonName != "":
		return "CN=" + c.Subject.CommonName
	case len(c.URIs) > 0:
		return "URI:" + c.URIs[0].String()
	case len(c.EmailAddresses) > 0:
		return "email:" + c.EmailAddresses[0]
	case len(c.DNSNames) > 0:
		return "DNS:" + c.DNSNames[0]
	}
	return ""
}
