package server

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ServeHTTP checks the Host and the Origin of every request before it is routed. It refuses
// requests that a web page may have made a browser send: with a Host that is not ours, whose
// DNS name its owner may have pointed here, with an Origin that is not allowed, or without one
// where the browser says that it is a page of another site, as for an image.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	setRequestID(w, req)
	flow := http.NewResponseController(w)
	extend(flow)
	if req.ContentLength != 0 { // net/http reads the body of a refused request before it answers
		_ = flow.SetReadDeadline(time.Now().Add(bodyTimeout))
	}
	if !h.isAllowedHost(req) {
		h.newExchange(w, req).refuseRequest(ReasonHost, http.StatusForbidden, fmt.Sprintf("the host %.100q is not allowed; --allowed-host allows it", req.Host))
		return
	}
	if strings.HasPrefix(req.URL.Path, "/.well-known/") {
		h.open(w, req)
		return
	}
	w.Header().Add("Vary", "Origin")
	origins := req.Header.Values("Origin")
	if len(origins) == 0 && isFromPage(req.Header) && !h.isVisit(req) {
		h.newExchange(w, req).refuseRequest(ReasonOrigin, http.StatusForbidden, "a page of another site has made the browser send this request")
		return
	}
	if len(origins) == 0 || len(origins) == 1 && isSameOrigin(origins[0], req.Host) {
		h.serveRoute(w, req)
		return
	}
	if len(origins) > 1 || !h.origins[strings.ToLower(origins[0])] {
		h.newExchange(w, req).refuseRequest(ReasonOrigin, http.StatusForbidden, fmt.Sprintf("the origin %.100q is not allowed; --allowed-origin allows it", origins[0]))
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", origins[0])
	w.Header().Set("Access-Control-Expose-Headers", headerSession+", WWW-Authenticate, Retry-After, "+headerRequestID+h.exposed())
	if req.Method == http.MethodOptions {
		preflight(w, req)
		return
	}
	h.serveRoute(w, req)
}

// open serves pages of every origin: what is below /.well-known/ holds no secret, and clients
// read it before they have a token.
func (h *HTTP) open(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if req.Method == http.MethodOptions {
		preflight(w, req)
		return
	}
	h.serveRoute(w, req)
}

// isFromPage reports whether a browser says that a page which is not the server's own made it
// send a request (Fetch Metadata).
func isFromPage(header http.Header) bool {
	return slices.ContainsFunc(header.Values("Sec-Fetch-Site"), func(site string) bool {
		return site != "same-origin" && site != "none" // which means that the user did
	})
}

// isSameOrigin reports whether an origin is this server itself, by a name that has been
// checked. Browsers need no permission for it.
func isSameOrigin(origin, host string) bool {
	scheme, at, ok := strings.Cut(strings.ToLower(origin), "://")
	return ok && (scheme == "http" || scheme == "https") && at == strings.ToLower(host)
}

// preflight tells a browser that pages of an allowed origin may send any header.
func preflight(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	if headers := req.Header.Get("Access-Control-Request-Headers"); headers != "" {
		w.Header().Set("Access-Control-Allow-Headers", headers)
	}
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

// allow sets the allowed hosts and origins.
func (h *HTTP) allow(opts HTTPOptions) error {
	h.hosts, h.origins = make(map[string]bool), make(map[string]bool)
	for _, host := range opts.AllowedHosts {
		name := hostName(host)
		if name == "" || strings.ContainsAny(host, "/*") {
			return fmt.Errorf("allowed host %q is not a name or an address", host)
		}
		h.hosts[name] = true
	}
	for _, origin := range opts.AllowedOrigins {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || strings.Contains(u.Host, "*") || u.Scheme+"://"+u.Host != origin {
			return fmt.Errorf("allowed origin %q is not of the form https://example.com", origin)
		}
		h.origins[strings.ToLower(origin)] = true
	}
	return nil
}

// isAllowedHost reports whether Host names this server. The address on which the connection
// arrived is accepted too: a web page cannot have made it up.
func (h *HTTP) isAllowedHost(req *http.Request) bool {
	name := hostName(req.Host)
	if name == "localhost" || h.hosts[name] {
		return true
	}
	ip := net.ParseIP(name)
	if ip == nil {
		return false
	}
	local, _ := req.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ip.IsLoopback() || local != nil && ip.Equal(local.IP)
}

// hostName returns the host of host:port, or of host alone, in one spelling.
func hostName(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Headers that clients and proxies use to identify a request, so that log lines of several
// programs can be matched.
const (
	headerRequestID = "X-Request-Id"
	headerTrace     = "Traceparent" // W3C Trace Context, as is the next
	headerState     = "Tracestate"
)

// setRequestID gives a request an id of ours, unless it has one that is safe to log, and tells
// the client.
func setRequestID(w http.ResponseWriter, req *http.Request) {
	id := req.Header.Get(headerRequestID)
	if !isPlainID(id) {
		id = fmt.Sprintf("%016x", rand.Uint64()) // which can be the end of a trace-id
	}
	req.Header.Set(headerRequestID, id)
	w.Header().Set(headerRequestID, id)
}

// isPlainID reports whether an id is short, and has no characters that could disguise anything
// in a log.
func isPlainID(id string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/+="
	return id != "" && len(id) <= 128 && strings.Trim(id, letters) == ""
}

// loggedHeaders are the headers of a request that tools see, for their log lines. Tools get no
// others.
func loggedHeaders(header http.Header) http.Header {
	return http.Header{headerRequestID: header[headerRequestID], headerTrace: header[headerTrace], headerState: header[headerState]}
}
