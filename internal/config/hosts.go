package config

import (
	"cmp"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"ollama-mcp/internal/backend/ollama"
)

const defaultHost = "127.0.0.1:11434"

// addHost adds a host of the file.
func (r *reader) addHost(h Host) error {
	if h.URL == "" {
		return errors.New("has no url")
	}
	u, err := parseHost(h.URL)
	if err != nil {
		return err
	}
	if u.User != nil {
		return errors.New("a password must not be in the file; the variable OLLAMA_MCP_HOST can hold such an address")
	}
	return appendHost(&r.hosts, h, u)
}

// settleHosts chooses the hosts: those of the flag or its variable, else those of the file,
// else that of Ollama's own variable, else the default.
func (r *reader) settleHosts() error {
	f := r.fs.Lookup("host")
	ollamas := r.getenv("OLLAMA_HOST")
	c, where, addresses := r.c, from(f), r.c.addresses
	switch {
	case f.Changed:
		if len(addresses) == 0 {
			return wrong(f, "has no address")
		}
	case len(r.hosts) > 0:
		where, c.Hosts, addresses = c.File, r.hosts, nil
	case ollamas != "":
		where, addresses = "OLLAMA_HOST", []string{ollamas}
	default:
		where = ""
	}
	c.HostsFrom = where
	for _, address := range addresses {
		u, err := parseHost(address)
		if err == nil {
			err = appendHost(&c.Hosts, Host{URL: address, APIKey: c.APIKey}, u)
		}
		if err != nil {
			return errors.New(where + ": " + err.Error())
		}
	}
	for i := range c.Hosts {
		c.Hosts[i].Slots = cmp.Or(c.Hosts[i].Slots, c.Slots)
		c.Hosts[i].CAFile = cmp.Or(c.Hosts[i].CAFile, c.CAFile)
	}
	c.Host = c.Hosts[0].URL
	return nil
}

// appendHost adds a host with the address u, under a name that no other host has.
func appendHost(hosts *[]Host, h Host, u *url.URL) error {
	h.Name = cmp.Or(h.Name, u.Host)
	if slices.ContainsFunc(*hosts, func(other Host) bool { return other.Name == h.Name }) {
		return errors.New("another host has the name " + h.Name + " already")
	}
	*hosts = append(*hosts, h)
	return nil
}

// parseHost reads the address of a host, with or without dns+ before it.
func parseHost(address string) (*url.URL, error) {
	rest, behindDNS := strings.CutPrefix(address, "dns+")
	if behindDNS && !strings.Contains(rest, "://") {
		return nil, errors.New("after dns+ comes http:// or https://")
	}
	_, behind, isURL := strings.Cut(rest, "://")
	if isURL && (behind == "" || behind[0] == '/') { // which for Ollama is this machine
		return nil, errors.New("the address names no host")
	}
	if _, err := strconv.Atoi(rest); err == nil {
		return nil, errors.New("a number is not an address; a port of this machine is written as :" + rest)
	}
	return ollama.ParseHost(rest)
}

// isNoOrigin reports whether s is not the origin of a page, such as https://example.com.
func isNoOrigin(s string) bool {
	u, err := url.Parse(s)
	return err != nil || u.Host == "" || strings.Contains(u.Host, "*") || u.Scheme+"://"+u.Host != s
}

// isNoRegistry reports whether s is not a registry of models: a host, with http:// before it
// for plain HTTP.
func isNoRegistry(s string) bool {
	host, plain := strings.CutPrefix(s, "http://")
	scheme := "https://"
	if plain {
		scheme = "http://"
	} else {
		host = strings.TrimPrefix(host, scheme)
	}
	return isNoOrigin(scheme + host)
}

// isNoProxy reports whether s names no proxy: neither an address nor a network, and not
// the peer of a Unix socket.
func isNoProxy(s string) bool {
	_, notAddress := netip.ParseAddr(s)
	_, notNetwork := netip.ParsePrefix(s)
	return notAddress != nil && notNetwork != nil && s != "unix"
}

// isWebAddress reports whether s is a URL to which a path can be added, and which holds no
// secret.
func isWebAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
		u.User == nil && u.RawQuery == "" && !u.ForceQuery && u.Fragment == ""
}
