package netserve

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// TLSOptions name PEM files. A file that changes is read again.
type TLSOptions struct {
	CertFile, KeyFile string // certificate chain of the server, and its key; "" for both disables TLS

	// ClientCAFile holds the authorities for client certificates. If it is set, every client
	// must present a certificate that one of them signed. "" asks for no client certificates.
	ClientCAFile string
}

func (o TLSOptions) check() error {
	switch {
	case (o.CertFile == "") != (o.KeyFile == ""):
		return errors.New("a certificate needs its key, and a key its certificate")
	case o.ClientCAFile != "" && o.CertFile == "":
		return errors.New("client certificates need TLS, and so a certificate of the server")
	}
	return nil
}

func (o TLSOptions) files() [3]string { return [...]string{o.CertFile, o.KeyFile, o.ClientCAFile} }

// load reads the files.
func (o TLSOptions) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", o.CertFile, o.KeyFile, err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	}
	if o.ClientCAFile == "" {
		return config, nil
	}
	signers, err := os.ReadFile(o.ClientCAFile)
	if err != nil {
		return nil, err
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(signers) {
		return nil, fmt.Errorf("there is no certificate in %s", o.ClientCAFile)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.SessionTicketsDisabled = true // a session that is resumed would outlive the signer that vouched for it
	return config, nil
}

// checkInterval limits how often the files are checked for changes.
const checkInterval = time.Second

// Certificates are the current contents of the files. If changed files cannot be loaded, the
// previous contents stay in use.
type Certificates struct {
	opts TLSOptions
	log  *slog.Logger

	// mu guards what follows. Files are read under it, so that a handshake waits for the new
	// certificate rather than use the old one.
	mu     sync.Mutex
	config *tls.Config
	seen   [3]stamp
	looked time.Time
}

// stamp identifies one version of a file.
type stamp struct {
	changed time.Time
	size    int64
}

// NewCertificates reads the files, and checks that they can be used.
func NewCertificates(opts TLSOptions, log *slog.Logger) (*Certificates, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	c := &Certificates{opts: opts, log: log, looked: time.Now(), seen: look(opts)}
	var err error
	c.config, err = opts.load()
	return c, err
}

// ForClient is a tls.Config.GetConfigForClient.
func (c *Certificates) ForClient(*tls.ClientHelloInfo) (*tls.Config, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) >= checkInterval {
		c.reload()
	}
	return c.config, nil
}

// reload loads the files if they have changed. mu is held.
func (c *Certificates) reload() {
	c.looked = time.Now()
	now := look(c.opts)
	if now == c.seen {
		return
	}
	c.seen = now
	config, err := c.opts.load()
	if err != nil {
		c.log.Error("new certificates cannot be loaded; the old ones stay in use", "error", err)
		return
	}
	c.log.Info("certificates reloaded")
	c.config = config
}

// Reload checks the files for changes, however soon after the last check.
func (c *Certificates) Reload() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reload()
}

// Trusts reports whether the certificate of a client, which was verified when it connected, is still
// one of an authority in the files. It is true if clients need no certificates.
func (c *Certificates) Trusts(client *tls.ConnectionState) bool {
	if c.opts.ClientCAFile == "" || client == nil {
		return true
	}
	c.mu.Lock()
	authorities := c.config.ClientCAs
	c.mu.Unlock()
	return slices.ContainsFunc(client.VerifiedChains, func(chain []*x509.Certificate) bool {
		_, err := chain[len(chain)-1].Verify(x509.VerifyOptions{Roots: authorities, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		return err == nil
	})
}

// look returns the stamps of the files; that of a missing file is zero.
func look(opts TLSOptions) (seen [3]stamp) {
	for i, name := range opts.files() {
		if info, err := os.Stat(name); err == nil {
			seen[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return seen
}
