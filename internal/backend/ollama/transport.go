package ollama

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"
)

const (
	// standIn is the address that requests are made out to. The transport puts
	// the host's own in its place, so an error of net/http that quotes the
	// address cannot quote a password, and the api client does not take
	// ollama.com for a reason to sign requests with the user's own key.
	standIn = "http://ollama"

	maxAnswer    = 256 << 20 // bytes of one answer
	maxErrorBody = 64 << 10  // bytes of an answer that reports an error
)

// transport sends every request to one host, whatever its address says, with
// the host's credentials, and bounds what comes back.
type transport struct {
	base *url.URL // without user and password
	auth string   // value of the Authorization header; empty sends none
	next *http.Transport
}

func newTransport(o Options, base *url.URL) (*transport, error) {
	roots, err := roots(o.CAFile)
	if err != nil {
		return nil, err
	}
	next := &http.Transport{
		DialContext:         dialer(o.DialContext, o.DialTimeout),
		TLSClientConfig:     &tls.Config{RootCAs: roots},
		TLSHandshakeTimeout: o.DialTimeout,
		DisableCompression:  true,
		// Neither limits connections, which would be a queue that nobody sees,
		// nor the wait for headers, which lasts as long as a model loads.
		MaxIdleConnsPerHost: o.Conns,
		IdleConnTimeout:     90 * time.Second,
	}
	if !isLocal(base.Hostname()) {
		next.Proxy = http.ProxyFromEnvironment
	}
	t := &transport{base: new(*base), next: next}
	t.base.User = nil
	switch {
	case o.APIKey != "":
		t.auth = "Bearer " + o.APIKey
	case base.User != nil:
		t.auth = "Basic " + basicAuth(base.User)
	}
	return t, nil
}

func basicAuth(user *url.Userinfo) string {
	password, _ := user.Password()
	return base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := req.WithContext(req.Context()) // a shallow copy
	sent.Host = t.base.Host
	sent.URL = new(*t.base)
	sent.URL.Path += req.URL.Path
	sent.URL.RawQuery = req.URL.RawQuery
	if t.auth != "" {
		sent.Header = req.Header.Clone()
		sent.Header.Set("Authorization", t.auth)
	}
	resp, err := t.next.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < http.StatusBadRequest {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
		return resp, nil
	}
	resp.Body = cutShort{io.LimitReader(resp.Body, maxErrorBody), resp.Body}
	if wanted, ok := req.Context().Value(retryAfterKey{}).(*time.Duration); ok {
		*wanted = retryAfter(resp.Header)
	}
	return resp, nil
}

// cutShort is the beginning of a body.
type cutShort struct {
	io.Reader
	io.Closer
}

// retryAfterKey is the context key of a *time.Duration that is set to what a
// host that refused asked for: the api client keeps headers to itself.
type retryAfterKey struct{}

// retryAfter reads either form of the Retry-After header; 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(v, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// redirected is a redirect that was not followed: the request would take its
// prompt, and perhaps its key, to a host that nobody configured.
type redirected struct{ status int }

func (redirected) Error() string { return "answered with a redirect, which is not followed" }

func refuseRedirect(req *http.Request, _ []*http.Request) error {
	return redirected{req.Response.StatusCode}
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// dialer gives dial, or one of its own, a time limit and errors in plain words.
func dialer(dial dialFunc, timeout time.Duration) dialFunc {
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		conn, err := dial(ctx, network, addr)
		switch {
		case err == nil:
			return conn, nil
		case ctx.Err() != nil:
			return nil, &dialError{words: fmt.Sprintf("no connection within %v", timeout)}
		}
		return nil, &dialError{words: dialWords(err), err: err}
	}
}

// dialError is a connection that could not be made.
type dialError struct {
	words string
	err   error
}

func (e *dialError) Error() string { return e.words }
func (e *dialError) Unwrap() error { return e.err }

// dialWords is the innermost cause, which names no address.
func dialWords(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

// roots are the system's authorities and those in a PEM file; nil, which means
// the system's, if there is no file.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file: no certificate in %s", file)
	}
	return pool, nil
}
