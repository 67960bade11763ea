package ollama

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const (
	defaultPort = "11434"
	nameChars   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
)

// ParseHost reads the address of a server in any form that Ollama takes in
// OLLAMA_HOST: nothing at all, a name or IP address, either with a port, or a
// URL with or without a path. The default port is 11434, but 80 or 443 in a
// URL. An address to listen on, such as 0.0.0.0, becomes the loopback address
// under which that server is reached from here.
//
// Unlike Ollama it rejects an address that it cannot read, and accepts a user and
// password. Errors quote nothing, since they might quote the password.
func ParseHost(s string) (*url.URL, error) {
	s = strings.TrimSpace(strings.Trim(strings.TrimSpace(s), `"'`))
	scheme, rest, found := strings.Cut(s, "://")
	port := defaultPort
	switch {
	case !found && s == "ollama.com":
		scheme, rest, port = "https", s, "443"
	case !found:
		scheme, rest = "http", s
	case strings.EqualFold(scheme, "http"):
		port = "80"
	case strings.EqualFold(scheme, "https"):
		port = "443"
	default:
		return nil, errors.New("the scheme of the address is neither http nor https")
	}

	if strings.ContainsAny(rest, `?#"'`) {
		return nil, errors.New("the address has a query, a fragment or quotes inside")
	}
	authority, path, _ := strings.Cut(rest, "/")
	at := strings.LastIndex(authority, "@") + 1
	user, hostport := authority[:at], authority[at:]
	host, port := splitPort(hostport, port)
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, errors.New("the port of the address is not a number from 1 to 65535")
	}
	host, err := reachable(host)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(scheme + "://" + user + net.JoinHostPort(host, port) + "/" + path)
	if err != nil {
		return nil, errors.New("the address is neither a host nor a URL")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// splitPort separates host and port, either of which may be missing.
func splitPort(hostport, defaultPort string) (host, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil { // no port; perhaps an IPv6 address without brackets
		return strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]"), defaultPort
	}
	return host, port
}

// reachable is the host to connect to, as it is written in a URL, where a server
// was told to listen on host.
func reachable(host string) (string, error) {
	name := host
	ip, err := netip.ParseAddr(strings.Replace(host, "%25", "%", 1))
	if err == nil {
		name = ip.Zone() // as in fe80::1%eth0
	}
	switch {
	case strings.Trim(name, nameChars) != "":
		return "", errors.New("the host of the address is neither a name nor an IP address")
	case host == "", ip == netip.IPv4Unspecified():
		return "127.0.0.1", nil
	case ip == netip.IPv6Unspecified():
		return "::1", nil
	case ip.IsValid():
		return strings.Replace(ip.String(), "%", "%25", 1), nil
	}
	return host, nil
}

// isCloud reports whether an address is that of Ollama's cloud.
func isCloud(address *url.URL) bool {
	name := strings.ToLower(strings.TrimSuffix(address.Hostname(), "."))
	for _, domain := range []string{"ollama.com", "ollama.ai"} {
		if name == domain || strings.HasSuffix(name, "."+domain) {
			return true
		}
	}
	return false
}
