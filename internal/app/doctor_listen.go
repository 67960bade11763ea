package app

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"ollama-mcp/internal/config"
	"ollama-mcp/internal/doctor"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/netserve"
)

// renewBefore is when a certificate should have been renewed, before its end.
const renewBefore = 14 * 24 * time.Hour

// listenFindings say whether the server could listen, with which certificates, and who could
// call it. Each address is listened at for a moment.
func listenFindings(c config.Config) (all []doctor.Finding) {
	if len(c.Listen) == 0 {
		return nil
	}
	for _, address := range c.Listen {
		all = append(all, listenFinding(address, authenticates(c), c.Insecure))
	}
	if c.SessionKeyFile != "" {
		if _, err := readKey(c.SessionKeyFile); err != nil {
			all = append(all, doctor.Failed("session-key-file", err.Error(), "openssl rand -hex 32 > "+c.SessionKeyFile))
		}
	}
	return slices.Concat(all, certificateFindings(c), keyFindings(c))
}

func listenFinding(address string, guarded, insecure bool) doctor.Finding {
	subject := "listen " + address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return doctor.Failed(subject, "there is no directory "+filepath.Dir(path), "create it, or choose another path")
		}
		return doctor.Fine(subject, "a socket for this user alone")
	}
	listener, err := netserve.Listen(address, guarded || insecure)
	switch {
	case errors.Is(err, netserve.ErrNotLocal):
		return doctor.Failed(subject, "other machines can connect, and callers need no key", "set --token-file, --oauth-issuer or --tls-client-ca, or --insecure if everybody may call")
	case errors.Is(err, syscall.EADDRINUSE):
		return doctor.Warned(subject, "a program listens there already", "if that is not this server, stop it or choose another port")
	case err != nil:
		return doctor.Failed(subject, err.Error(), "choose an address of this machine, such as 127.0.0.1:8383")
	}
	local := netserve.IsLocal(listener.Addr())
	_ = listener.Close() // nobody has connected
	switch {
	case !local && !guarded:
		return doctor.Warned(subject, "free; everybody who can connect may use the models (--insecure)", "set --token-file")
	case !local:
		return doctor.Fine(subject, "free; other machines can connect, and callers have to prove who they are")
	}
	return doctor.Fine(subject, "free; only this machine can connect")
}

// certificateFindings are about the certificate of the server and the authority of its
// clients.
func certificateFindings(c config.Config) (all []doctor.Finding) {
	if c.TLSCert != "" {
		all = append(all, certificateFinding(c.TLSCert, c.TLSKey, time.Now()))
	}
	if c.TLSClientCA != "" {
		text, err := os.ReadFile(c.TLSClientCA)
		switch {
		case err != nil:
			all = append(all, doctor.Failed("tls-client-ca", err.Error(), "name the PEM file of the authority that signs the certificates of clients"))
		case !x509.NewCertPool().AppendCertsFromPEM(text):
			all = append(all, doctor.Failed("tls-client-ca", c.TLSClientCA+" holds no certificate", "name the PEM file of the authority that signs the certificates of clients"))
		default:
			all = append(all, doctor.Fine("tls-client-ca", fmt.Sprintf("%s has %d certificates", c.TLSClientCA, bytes.Count(text, []byte("BEGIN CERTIFICATE")))))
		}
	}
	return all
}

func certificateFinding(certFile, keyFile string, now time.Time) doctor.Finding {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return doctor.Failed("tls-cert", err.Error(), "name a PEM certificate, and with --tls-key the private key that belongs to it")
	}
	until := pair.Leaf.NotAfter
	names := slices.Clone(pair.Leaf.DNSNames)
	for _, ip := range pair.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	valid := fmt.Sprintf("%s is for %s, until %s", certFile, strings.Join(names, ", "), until.UTC().Format(time.DateOnly))
	switch {
	case now.After(until):
		return doctor.Failed("tls-cert", valid+", and has expired", "renew it; a changed file is loaded without a restart")
	case now.Before(pair.Leaf.NotBefore):
		return doctor.Failed("tls-cert", valid+", and is not valid before "+pair.Leaf.NotBefore.UTC().Format(time.DateOnly), "check the clock of this machine, or wait")
	case now.After(until.Add(-renewBefore)):
		return doctor.Warned("tls-cert", valid, "renew it soon; a changed file is loaded without a restart")
	case len(names) == 0:
		return doctor.Warned("tls-cert", certFile+" names no host, so clients will refuse it", "have it issued with the server's name as subjectAltName")
	}
	return doctor.Fine("tls-cert", valid)
}

// expiryFindings are about the keys in a file that have expired, or are about to.
func expiryFindings(file string, keys []config.Key, now time.Time) (all []doctor.Finding) {
	const most = 5 // that are named
	var expired, soon []string
	for _, k := range keys {
		switch left := k.Expires.Sub(now); {
		case k.Expires.IsZero() || left >= keyWarning:
		case left <= 0:
			expired = append(expired, k.Caller.ID)
		default:
			soon = append(soon, k.Caller.ID)
		}
	}
	if len(expired) > 0 {
		all = append(all, doctor.Warned("keys", "expired, and refused: "+fault.List(expired, most), "remove them from "+file+", or give them a later date in expires"))
	}
	if len(soon) > 0 {
		all = append(all, doctor.Warned("keys", "expire within a week: "+fault.List(soon, most), "in "+file+" give them a later date in expires, or make new keys in time"))
	}
	return all
}

// keyFindings are about the keys of callers.
func keyFindings(c config.Config) (all []doctor.Finding) {
	for _, file := range slices.Sorted(maps.Keys(c.KeyFiles)) {
		if n := len(c.KeyFiles[file]); n > 0 {
			all = append(all, doctor.Fine("keys", fmt.Sprintf("%d in %s", n, file)))
		}
		all = append(all, expiryFindings(file, c.KeyFiles[file], time.Now())...)
	}
	if c.Keys != nil && len(c.Keys) == 0 && c.OAuthIssuer == "" {
		all = append(all, doctor.Warned("keys", "there are none, so nobody can call", "ollama-mcp token new NAME"))
	}
	return all
}
