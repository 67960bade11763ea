package remote

import (
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	maxAnswer    = 256 << 20 // bytes of one answer as it is sent
	maxErrorBody = 64 << 10  // bytes of an answer that reports an error

	// infoConns bounds the connections for requests about the host. They are short, so
	// that the next in line does not wait for long.
	infoConns = 8
)

// newTransport returns a transport to one host that keeps at most conns connections.
func newTransport(o Options, conns int) (*http.Transport, error) {
	roots, err := roots(o.CAFile)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		DialContext:         dialer(o.DialContext, o.DialTimeout),
		TLSClientConfig:     &tls.Config{RootCAs: roots},
		TLSHandshakeTimeout: o.DialTimeout,
		DisableCompression:  true,
		// Without this bound, a request that finds a connection still being dialled, or one
		// not put back yet, opens another beside it.
		MaxConnsPerHost:     conns,
		MaxIdleConnsPerHost: conns,
		IdleConnTimeout:     90 * time.Second,
		// The wait for headers has no limit: it lasts as long as a model loads.
	}
	if o.DialContext == nil && !IsLocal(o.URL.Hostname()) { // a proxy would be dialled in the host's place
		t.Proxy = http.ProxyFromEnvironment
	}
	return t, nil
}

// authorization is the value of the Authorization header; empty for none.
func authorization(key string, user *url.Userinfo) string {
	switch {
	case key != "":
		return "Bearer " + key
	case user != nil:
		return "Basic " + basicAuth(user)
	}
	return ""
}

func basicAuth(user *url.Userinfo) string {
	password, _ := user.Password()
	return base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
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
