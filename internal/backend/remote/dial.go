package remote

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// dialer returns dial, or a dial function of the network if it is nil, with a timeout and
// errors in plain words.
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

// dialError is the error of a connection that could not be made.
type dialError struct {
	words string
	err   error
}

func (e *dialError) Error() string { return e.words }
func (e *dialError) Unwrap() error { return e.err }

// dialWords is the innermost cause of an error, which contains no address.
func dialWords(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return strings.TrimRight(err.Error(), ".") // Windows ends its sentences
}

// roots are the system's certificate authorities and those in a PEM file; nil, which
// means the system's, if there is no file.
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

// IsLocal reports whether a host is not reached through a proxy: it is this machine, has
// a private address, a name without a domain, or one in a domain that is reserved for
// private networks.
func IsLocal(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()
	}
	labels := strings.Split(strings.ToLower(strings.TrimSuffix(host, ".")), ".")
	switch labels[len(labels)-1] {
	case "localhost", "local", "internal":
		return true
	}
	return len(labels) == 1
}
