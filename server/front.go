package server

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ServeHTTP is what every request passes, on every path. It refuses those that a
// web page may have made a browser send: with a name in Host that is not ours, which
// its owner may have made point here, or from an Origin that is not allowed.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	nameRequest(w, req)
	flow := http.NewResponseController(w)
	extend(flow)
	if req.ContentLength != 0 { // net/http waits for the bodies of those who are refused too
		_ = flow.SetReadDeadline(time.Now().Add(bodyTimeout))
	}
	if !h.knowsHost(req) {
		h.newExchange(w, req).refuseText(ReasonHost, http.StatusForbidden, fmt.Sprintf("the host %.100q is not allowed; --allowed-host allows it", req.Host))
		return
	}
	if h.isMetadata(req.URL.Path) {
		h.open(w, req)
		return
	}
	w.Header().Add("Vary", "Origin")
	origins := req.Header.Values("Origin")
	if len(origins) == 0 || len(origins) == 1 && isOurs(origins[0], req.Host) {
		h.routes.ServeHTTP(w, req)
		return
	}
	if len(origins) > 1 || !h.origins[strings.ToLower(origins[0])] {
		h.newExchange(w, req).refuseText(ReasonOrigin, http.StatusForbidden, fmt.Sprintf("the origin %.100q is not allowed; --allowed-origin allows it", origins[0]))
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", origins[0])
	w.Header().Set("Access-Control-Expose-Headers", headerSession+", WWW-Authenticate, Retry-After, "+headerRequestID)
	if req.Method == http.MethodOptions {
		preflight(w, req)
		return
	}
	h.routes.ServeHTTP(w, req)
}

// open serves a page of any origin: it has no token yet, and learns no secret.
func (h *HTTP) open(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if req.Method == http.MethodOptions {
		preflight(w, req)
		return
	}
	h.routes.ServeHTTP(w, req)
}

// isOurs reports whether an origin is the very server that is called, by a name that
// is known to be its own. Its pages need no leave of a browser.
func isOurs(origin, host string) bool {
	scheme, at, ok := strings.Cut(strings.ToLower(origin), "://")
	return ok && (scheme == "http" || scheme == "https") && at == strings.ToLower(host)
}

// preflight tells a browser that a page of an allowed origin may send what it likes.
func preflight(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	if headers := req.Header.Get("Access-Control-Request-Headers"); headers != "" {
		w.Header().Set("Access-Control-Allow-Headers", headers)
	}
	w.Header().Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

// allow takes over from the options who may call.
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

// knowsHost reports whether a request calls the server by a name that it has. An
// address that the connection came in by cannot have been made up by a web page.
func (h *HTTP) knowsHost(req *http.Request) bool {
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

// hostName is the host of host:port, or of host alone, in one spelling.
func hostName(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Headers by which clients, and proxies on the way, name a request, so that what is
// logged of it in several places can be found together.
const (
	headerRequestID = "X-Request-Id"
	headerTrace     = "Traceparent" // W3C Trace Context
)

// nameRequest gives a request an id of ours, unless it has one that may go into logs, and
// tells the client.
func nameRequest(w http.ResponseWriter, req *http.Request) {
	id := req.Header.Get(headerRequestID)
	if !isPlainID(id) {
		id = rand.Text()[:16]
	}
	req.Header.Set(headerRequestID, id)
	w.Header().Set(headerRequestID, id)
}

// isPlainID reports whether an id is of a size and letters that hide nothing in a log.
func isPlainID(id string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/+="
	return id != "" && len(id) <= 128 && strings.Trim(id, letters) == ""
}

// namesOf are those headers of a request by which tools may log it; its others are none
// of their business.
func namesOf(header http.Header) http.Header {
	return http.Header{headerRequestID: header[headerRequestID], headerTrace: header[headerTrace]}
}
