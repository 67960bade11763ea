package remote

import (
	"cmp"
	"crypto/tls"
	"encoding/base64"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxAnswer    = 256 << 20 // bytes of one answer as it is sent
	maxErrorBody = 64 << 10  // bytes of an answer that reports an error

	// infoConns bounds the connections for requests about the host. They are short, so
	// that the next in line does not wait for long.
	infoConns = 8
	// maxIdle is more than the connections that any gate lets through.
	maxIdle = 1 << 16
)

// newTransport returns a transport to one host. Its connections are bounded by the gate, or by conns if
// the gate is nil.
func newTransport(o Options, conns int, g *gate) (*http.Transport, error) {
	roots, err := roots(o.CAFile)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		DialContext:         dialer(o.DialContext, o.DialTimeout),
		TLSClientConfig:     &tls.Config{RootCAs: roots},
		TLSHandshakeTimeout: o.DialTimeout,
		DisableCompression:  true,
		// Without this bound or a gate, a request that finds a connection still being dialled, or one
		// not put back yet, opens another beside it.
		MaxConnsPerHost:     conns,
		MaxIdleConnsPerHost: conns,
		IdleConnTimeout:     90 * time.Second,
		// The wait for headers has no limit: it lasts as long as a model loads.
	}
	if g != nil {
		t.DialContext, t.MaxConnsPerHost, t.MaxIdleConnsPerHost = g.bound(t.DialContext), 0, maxIdle
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

// retryAfter is for how long a host asks to be left alone: by retry-after-ms, which OpenAI
// and others send beside the standard header, or by Retry-After, in seconds, which may have a
// fraction, or as a date; 0 if it does not.
func retryAfter(h http.Header) time.Duration {
	wait, ok := waitOf(h.Get("Retry-After-Ms"), time.Millisecond)
	if !ok {
		wait, ok = waitOf(h.Get("Retry-After"), time.Second)
	}
	if ok {
		return wait
	}
	at, err := http.ParseTime(strings.TrimSpace(h.Get("Retry-After")))
	if err != nil {
		return 0
	}
	return waitUntil(at, h)
}

// waitUntil is the time from a response to a moment that it names; 0 for one that is over, or
// that no host means.
func waitUntil(at time.Time, h http.Header) time.Duration {
	now, err := http.ParseTime(h.Get("Date")) // the host's clock may be wrong
	if err != nil {
		now = time.Now()
	}
	if wait := at.Sub(now); wait <= longestWait {
		return max(0, wait)
	}
	return 0
}

// limitReset is the time until the rate limits that a host has reached are reset, by headers
// such as X-RateLimit-Reset-Requests of OpenAI, RateLimit-Reset of the IETF's draft and
// Anthropic-RateLimit-Tokens-Reset; 0 if none says so. Of several limits those count of which
// nothing remains, and the last of them to be reset. If no header says what remains, any
// limit may have been the one, and the first to be reset counts.
func limitReset(h http.Header) time.Duration {
	var reached, any time.Duration
	for name := range h {
		lower := strings.ToLower(name)
		if !strings.Contains(lower, "ratelimit") && !strings.Contains(lower, "rate-limit") || !strings.Contains(lower, "reset") {
			continue
		}
		wait := resetOf(strings.TrimSpace(h.Get(name)), h)
		if wait <= 0 {
			continue
		}
		switch remaining := strings.TrimSpace(h.Get(strings.Replace(lower, "reset", "remaining", 1))); {
		case remaining == "" && (any == 0 || wait < any):
			any = wait
		case remaining != "" && strings.Trim(remaining, "0.") == "":
			reached = max(reached, wait)
		}
	}
	return cmp.Or(reached, any)
}

// resetOf reads when a limit is reset: a time such as 6m0s, a number of seconds, or a moment as
// RFC 3339 has it or in seconds or milliseconds since 1970; 0 for anything else.
func resetOf(value string, h http.Header) time.Duration {
	if at, err := time.Parse(time.RFC3339, value); err == nil {
		return waitUntil(at, h)
	}
	if wait, err := time.ParseDuration(value); err == nil && wait <= longestWait {
		return max(0, wait)
	}
	const since1970, inMillis = 1e9, 1e12 // no time to wait has so many seconds
	n, err := strconv.ParseFloat(value, 64)
	switch {
	case err != nil || math.IsNaN(n) || n > 1e15:
		return 0
	case n >= inMillis:
		return waitUntil(time.UnixMilli(int64(n)), h)
	case n >= since1970:
		return waitUntil(time.Unix(int64(n), 0), h)
	}
	wait, _ := waitOf(value, time.Second)
	return wait
}

// longestWait is longer than any host means that asks to be left alone.
const longestWait = 365 * 24 * time.Hour

// waitOf reads a number of units. It is not ok for anything else.
func waitOf(number string, unit time.Duration) (wait time.Duration, ok bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if n *= float64(unit); err != nil || math.IsNaN(n) || n > float64(longestWait) {
		return 0, false
	}
	return time.Duration(max(0, n)), true
}
