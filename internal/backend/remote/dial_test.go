package remote

import (
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
)

func TestOnlyForeignHostsAreReachedThroughAProxy(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "::1": true, "10.1.2.3": true, "192.168.1.2": true, "172.16.0.1": true, "fd00::1": true,
		"169.254.1.1": true, "fe80::1%eth0": true, "localhost": true, "gpu-1": true, "gpu-1.": true,
		"a.localhost": true, "gpu.local": true, "host.docker.internal": true,
		"8.8.8.8": false, "2001:db8::1": false, "ollama.com": false, "gpu.example.com": false, "172.32.0.1": false,
	} {
		if got := IsLocal(host); got != want {
			t.Errorf("IsLocal(%q) = %v, want %v", host, got, want)
		}
		tr, err := newTransport(Options{URL: &url.URL{Scheme: "http", Host: net.JoinHostPort(host, "80")}}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := tr.Proxy == nil; got != want {
			t.Errorf("%s: no proxy is %v, want %v", host, got, want)
		}
	}
}

func TestWordsOfAFailedConnectionAreThoseOfTheSystemWithoutAFullStop(t *testing.T) {
	for _, said := range []string{"connection refused", "No connection could be made because the target machine actively refused it."} {
		err := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New(said)}
		if got, want := dialWords(err), strings.TrimSuffix(said, "."); got != want {
			t.Errorf("%q: got %q, want %q", said, got, want)
		}
	}
}
