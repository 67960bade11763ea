package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"ollama-mcp/internal/auth"
	"ollama-mcp/internal/caller"
)

// authority signs client certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(tb testing.TB) authority {
	tb.Helper()
	a := authority{cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	made := a.sign(tb, a.cert)
	a.cert, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// sign makes a key and its certificate; the authority without a key signs itself.
func (a authority) sign(tb testing.TB, template *x509.Certificate) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	by := a.key
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), by)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// client makes a client certificate.
func (a authority) client(tb testing.TB, change func(*x509.Certificate)) tls.Certificate {
	tb.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(template)
	return a.sign(tb, template)
}

// over sends a request with a certificate over TLS to a server that judges
// certificates in its own way, and returns what a makes of it.
func over(t *testing.T, a *auth.Authenticator, judge tls.ClientAuthType, trusted authority, shown tls.Certificate, token string) (got caller.Caller, err error) {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got, err = a.Authenticate(r) }))
	pool := x509.NewCertPool()
	pool.AddCert(trusted.cert)
	srv.TLS = &tls.Config{ClientCAs: pool, ClientAuth: judge}
	srv.StartTLS()
	defer srv.Close()
	client := srv.Client()
	transport := client.Transport.(*http.Transport)
	transport.TLSClientConfig.Certificates = []tls.Certificate{shown}
	req, failed := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, nil)
	if failed != nil {
		t.Fatal(failed)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, failed := client.Do(req)
	if failed != nil {
		t.Fatal(failed)
	}
	resp.Body.Close()
	return got, err
}

func TestVerifiedCertificateNamesItsCaller(t *testing.T) {
	ca := newAuthority(t)
	a := &auth.Authenticator{Certificates: true}
	for _, c := range []struct {
		change func(*x509.Certificate)
		want   string // "" if the caller is denied
	}{
		{func(c *x509.Certificate) { c.Subject.CommonName = "ci"; c.DNSNames = []string{"ci.example.com"} }, "CN=ci"},
		{func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.org", Path: "/ci"}} }, "URI:spiffe://example.org/ci"},
		{func(c *x509.Certificate) { c.EmailAddresses = []string{"ci@example.com"} }, "email:ci@example.com"},
		{func(c *x509.Certificate) { c.DNSNames = []string{"ci.example.com"} }, "DNS:ci.example.com"},
		{func(c *x509.Certificate) { c.Subject.Organization = []string{"nobody"} }, ""},
	} {
		got, err := over(t, a, tls.RequireAndVerifyClientCert, ca, ca.client(t, c.change), "")
		if got.ID != c.want || got.Tenant != c.want || (err == nil) != (c.want != "") {
			t.Errorf("got %+v, %v, want %q", got, err, c.want)
		}
	}
}

// A connection may be kept for longer than the certificate lasts with which it began.
func TestCertificateIsRefusedWhenItHasExpiredOnItsConnection(t *testing.T) {
	ca := newAuthority(t)
	shown := ca.client(t, func(c *x509.Certificate) { c.Subject.CommonName = "ci" }).Leaf
	r := httptest.NewRequest("POST", "/mcp", nil)
	r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{shown, ca.cert}}}
	if got, ok := auth.Certificate(r); !ok || !got.Expires.Equal(shown.NotAfter) {
		t.Errorf("before: got %+v, %v", got, ok)
	}
	shown.NotAfter = time.Now().Add(-time.Second)
	if got, ok := auth.Certificate(r); ok {
		t.Errorf("after: got %+v", got)
	}
}

func TestCertificateDoesNotReplaceAKeyUnlessSaidSo(t *testing.T) {
	ca := newAuthority(t)
	shown := ca.client(t, func(c *x509.Certificate) { c.Subject.CommonName = "ci" })
	secret, hash := auth.NewKey()
	a := &auth.Authenticator{Keys: keys(t, caller.Caller{ID: "key"}, hash)}

	if got, err := over(t, a, tls.RequireAndVerifyClientCert, ca, shown, ""); code(t, err, "") != "" {
		t.Errorf("a certificate alone: got %q, %v, want a Denied without a code", got.ID, err)
	}
	a.Certificates = true
	if got, err := over(t, a, tls.RequireAndVerifyClientCert, ca, shown, secret); got.ID != "key" || err != nil {
		t.Errorf("both: got %q, %v, want the key to count", got.ID, err)
	}
	if got, err := over(t, a, tls.RequireAndVerifyClientCert, ca, shown, "wrong"); code(t, err, "wrong") != "invalid_token" {
		t.Errorf("both, and a wrong key: got %q, %v, want invalid_token", got.ID, err)
	}
	// A server that asks for certificates and does not verify them.
	forged := newAuthority(t).client(t, func(c *x509.Certificate) { c.Subject.CommonName = "ci" })
	if got, err := over(t, a, tls.RequireAnyClientCert, ca, forged, ""); code(t, err, "") != "" {
		t.Errorf("a certificate nobody verified: got %q, %v, want a Denied without a code", got.ID, err)
	}
}
