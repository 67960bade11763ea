package remote

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// StandIn is the address that requests are made out to. The transport puts
	// the host's own in its place, so an error of net/http that quotes the
	// address cannot quote a password, and Ollama's api client does not take
	// ollama.com for a reason to sign requests with the user's own key.
	StandIn = "http://host"

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

func newTransport(o Options) (*transport, error) {
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
		// One more than asked for is kept: that of the checks, which come beside the calls.
		MaxIdleConnsPerHost: o.Conns + 1,
		IdleConnTimeout:     90 * time.Second,
	}
	if o.DialContext == nil && !IsLocal(o.URL.Hostname()) { // a proxy would be dialled in the host's place
		next.Proxy = http.ProxyFromEnvironment
	}
	t := &transport{base: new(*o.URL), next: next}
	t.base.User = nil
	switch {
	case o.Key != "":
		t.auth = "Bearer " + o.Key
	case o.URL.User != nil:
		t.auth = "Basic " + basicAuth(o.URL.User)
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

type retryAfterKey struct{}

// WithRetryAfter is a context for a request through HTTP, which sets wait to what
// a host that refuses asks for: Ollama's api client keeps headers to itself.
func WithRetryAfter(ctx context.Context, wait *time.Duration) context.Context {
	return context.WithValue(ctx, retryAfterKey{}, wait)
}

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
