package netserve

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// TLSOptions name the files, in PEM, by which a server proves who it is. A file that
// changes is read again.
type TLSOptions struct {
	CertFile, KeyFile string // certificate and those that vouch for it, and its key; none means no TLS

	// ClientCAFile has the certificates of those who vouch for clients: each must
	// then show a certificate that one of them has signed. None asks for no
	// certificates.
	ClientCAFile string
}

func (o TLSOptions) check() error {
	switch {
	case (o.CertFile == "") != (o.KeyFile == ""):
		return errors.New("of a certificate and its key, one is missing")
	case o.ClientCAFile != "" && o.CertFile == "":
		return errors.New("certificates of clients are seen only with TLS, which needs a certificate of the server")
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

// lookAgain is how long files are taken to be as they were.
const lookAgain = time.Second

// Certificates are those in files, as they are now. If the new files cannot be used,
// they are as they were.
type Certificates struct {
	opts TLSOptions
	log  *slog.Logger

	// mu guards what follows. The files are read under it, so that a handshake
	// waits for the certificate that it ought to have.
	mu     sync.Mutex
	config *tls.Config
	seen   [3]stamp
	looked time.Time
}

// stamp tells one content of a file from the next.
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
	if time.Since(c.looked) < lookAgain {
		return c.config, nil
	}
	c.looked = time.Now()
	now := look(c.opts)
	if now == c.seen {
		return c.config, nil
	}
	c.seen = now
	config, err := c.opts.load()
	if err != nil {
		c.log.Error("the new certificates cannot be used; those from before stay", "error", err)
		return c.config, nil
	}
	c.log.Info("took new certificates")
	c.config = config
	return config, nil
}

// look stamps the files; one that is not there has the zero stamp.
func look(opts TLSOptions) (seen [3]stamp) {
	for i, name := range opts.files() {
		if info, err := os.Stat(name); err == nil {
			seen[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return seen
}
