package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"unicode"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/netserve"
)

// localID is the ID of a caller without credentials who connects from this machine.
// It is no address, so that nobody else can have it.
const localID = "local"

// unixProxy stands, among trusted proxies, for one that connects by a Unix socket.
const unixProxy = "unix"

// origin says where a request came from, as far as that can be believed.
type origin struct {
	addr  netip.Addr // of the client; invalid for Unix sockets
	local bool       // the client runs on this machine, and no proxy forwarded the request
}

// origin finds out where a request came from. A request that came by a trusted proxy
// has the address that the proxies named in X-Forwarded-For; what other peers say there
// is not believed.
//
// A request is local if nothing but a process of this machine can have sent it: the
// listener is not reachable from elsewhere, the peer is no trusted proxy, the request
// carries no header that proxies add, and it calls the server by a loopback name. Not
// every proxy adds a header, but most of them keep Host or set it to a name of theirs.
func (h *HTTP) origin(req *http.Request) origin {
	peer := parseAddr(req.RemoteAddr)
	onlyHere, _ := req.Context().Value(localListenerKey{}).(bool)
	if h.trusts(peer, onlyHere) {
		return origin{addr: h.forwardedFor(req, peer)}
	}
	if forwarded := proxyHeader(req.Header); forwarded != "" {
		h.warnOfProxy(req, forwarded)
		return origin{addr: peer}
	}
	return origin{addr: peer, local: onlyHere && isLoopbackName(hostName(req.Host))}
}

// anonymous is the caller of a request without credentials: the administrator, if the
// request is local.
func (o origin) anonymous() caller.Caller {
	switch {
	case o.local:
		return caller.Caller{ID: localID, Admin: true}
	case !o.addr.IsValid():
		return caller.Caller{ID: unixProxy}
	}
	return caller.Caller{ID: network(o.addr)}
}

// network is what identifies a caller by an address: the address itself, but for global
// IPv6 the network of 64 bits, of which one machine may use every address.
func network(addr netip.Addr) string {
	if addr.Is6() && addr.IsGlobalUnicast() && !addr.IsPrivate() {
		prefix, _ := addr.Prefix(64)
		return prefix.String()
	}
	return addr.String()
}

// withClient tells callers on this machine apart by the names of their programs. Nobody
// else gains by choosing a name: it would get them another fair share.
func withClient(c caller.Caller, client string) caller.Caller {
	name := strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(client[:min(len(client), 64)], "")))
	if c.ID == localID && name != "" {
		c.ID += " " + name
	}
	return c
}

// trusts reports whether a peer is one of the trusted proxies.
func (h *HTTP) trusts(peer netip.Addr, onlyHere bool) bool {
	if !peer.IsValid() {
		return h.unixProxy && onlyHere
	}
	for _, proxies := range h.proxies {
		if proxies.Contains(peer) {
			return true
		}
	}
	return false
}

// forwardedFor is the address of the client for whom trusted proxies forwarded a
// request: each proxy appends the address of its own peer to X-Forwarded-For, so that
// the last one which is not itself a trusted proxy is the client. What stands before it
// may be made up. Without the header the client is the proxy.
func (h *HTTP) forwardedFor(req *http.Request, peer netip.Addr) netip.Addr {
	hops := strings.Split(strings.Join(req.Header.Values("X-Forwarded-For"), ","), ",")
	client := peer
	for i := len(hops) - 1; i >= 0; i-- {
		addr := parseAddr(strings.TrimSpace(hops[i]))
		if !addr.IsValid() {
			break // not an address, such as "unknown": nothing before it can be believed
		}
		client = addr
		if !h.trusts(addr, false) {
			break
		}
	}
	return client
}

// proxyHeader returns the name of a header by which a request shows that a proxy has
// forwarded it, or "". Proxies have dozens of names for what they add, but few words:
// a header counts if any word of its name is one of them. A client that is wrongly
// taken for a proxy only loses the rights of an administrator.
func proxyHeader(header http.Header) string {
	for name := range header {
		if strings.HasPrefix(name, "Mcp-") {
			continue // the protocol's own, which may mirror any argument of a tool
		}
		for word := range strings.SplitSeq(name, "-") { // net/http spells names like this
			switch word {
			case "Forwarded", "Forward", "Via", "Proxy", "Ip", "Clientip", "Addr", "Remote", "Original", "Originating",
				"Envoy", "Cf", "Cdn", "Cloudfront", "Amzn", "Azure", "Fastly", "Fly", "Akamai", "Vercel", "Tailscale":
				return name
			}
		}
	}
	return ""
}

// warnOfProxy tells the operator, once, that a proxy is in use which is not trusted.
func (h *HTTP) warnOfProxy(req *http.Request, header string) {
	h.proxyWarning.Do(func() {
		h.server.opts.Log.Warn("requests come through a proxy that is not trusted: all its clients count as one caller without administrator rights; "+
			"name the proxy with --trust-proxy, or give callers keys", "peer", req.RemoteAddr, "header", header)
	})
}

// trustProxies takes over which proxies are trusted.
func (h *HTTP) trustProxies(names []string) error {
	for _, name := range names {
		if name == unixProxy {
			h.unixProxy = true
			continue
		}
		prefix, err := netip.ParsePrefix(name)
		if addr, ok := netip.ParseAddr(name); ok == nil {
			addr = addr.Unmap()
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return fmt.Errorf("trusted proxy %q is not an address, a network such as 10.0.0.0/8, or %s", name, unixProxy)
		}
		h.proxies = append(h.proxies, prefix.Masked())
	}
	return nil
}

// parseAddr reads an address, with or without a port; the zero Addr stands for anything else.
func parseAddr(text string) netip.Addr {
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap()
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

func isLoopbackName(name string) bool {
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

type localListenerKey struct{}

// withListener makes the context of the requests that come by a listener.
func withListener(l net.Listener) context.Context {
	return context.WithValue(context.Background(), localListenerKey{}, netserve.IsLocal(l.Addr()))
}
