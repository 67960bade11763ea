package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/server"
)

// authority signs certificates.
type authority struct {
	file string // with its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	ca := &authority{file: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), // tests in bubbles run in the year 2000
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	ca.cert, ca.key = ca.sign(t, template)
	writePEM(t, ca.file, "CERTIFICATE", ca.cert.Raw)
	return ca
}

// sign makes a certificate, signed by itself if the authority has none yet.
func (ca *authority) sign(t testing.TB, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := ca.cert, ca.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// issue makes a certificate for localhost and a key, in the files of the options.
func (ca *authority) issue(t testing.TB, opts server.TLSOptions, serial int64) {
	t.Helper()
	cert, key := ca.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "someone"}, DNSNames: []string{"localhost"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, opts.CertFile, "CERTIFICATE", cert.Raw)
	writePEM(t, opts.KeyFile, "PRIVATE KEY", der)
	changed := time.Unix(serial, 0) // two writes may come within what a file system can tell apart
	if err := os.Chtimes(opts.CertFile, changed, changed); err != nil {
		t.Fatal(err)
	}
}

// files are new files with a certificate and its key.
func (ca *authority) files(t testing.TB) server.TLSOptions {
	t.Helper()
	dir := t.TempDir()
	opts := server.TLSOptions{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	ca.issue(t, opts, 2)
	return opts
}

func writePEM(t testing.TB, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// trusting is the configuration of a client who trusts the authority alone.
func (ca *authority) trusting() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// serveTLS starts a server in a bubble, and a client that speaks HTTP/2 with it
// over one connection, unless it is to speak HTTP/1.1.
func serveTLS(t testing.TB, opts server.Options, over server.HTTPOptions, config *tls.Config, version1 bool) *remote {
	t.Helper()
	p := newPipes()
	r := serveOn(t, p, p.dial, newServer(t, opts), over)
	r.url = "https://localhost"
	r.http1.TLSClientConfig = config
	r.http1.ForceAttemptHTTP2 = !version1
	r.http1.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10} // what it takes of a stream unread
	return r
}

// inTLSBubble is inBubble with a server that speaks TLS, to a client that speaks
// HTTP/2 over one connection.
func inTLSBubble(t *testing.T, opts server.Options, f func(*testing.T, *remote)) {
	t.Helper()
	ca := newAuthority(t)
	synctest.Test(t, func(t *testing.T) {
		r := serveTLS(t, opts, server.HTTPOptions{TLS: ca.files(t)}, ca.trusting(), false)
		f(t, r)
		r.endTLS()
	})
}

// endTLS is end for TLS. Both ends of a connection may say goodbye at once, while neither reads:
// they give up after five seconds.
func (r *remote) endTLS() {
	r.t.Helper()
	r.end()
	time.Sleep(10 * time.Second)
}

func TestBothVersionsOfHTTPAreSpokenOverTLS(t *testing.T) {
	ca := newAuthority(t)
	for version, old := range map[int]bool{2: false, 1: true} {
		synctest.Test(t, func(t *testing.T) {
			r := serveTLS(t, server.Options{}, server.HTTPOptions{TLS: ca.files(t)}, ca.trusting(), old)
			session := r.initialize()
			for _, a := range []reply{
				r.postIn(session, call("1", "progress", `{"reports":50}`)),
				r.call("progress", `{"reports":50}`),
			} {
				if all := a.messages(); a.ProtoMajor != version || len(all) != 51 || all[50].text() != "done" {
					t.Errorf("HTTP/%d: %d messages: %s", a.ProtoMajor, len(all), a.body)
				}
			}
			s := r.openStream()
			s.say(call("1", "echo", `{"text":"streamed"}`))
			if m := s.next(); m.text() != "streamed" || s.resp.ProtoMajor != version {
				t.Errorf("HTTP/%d: the stream brought %s", s.resp.ProtoMajor, m.line)
			}
			s.close()
			r.endTLS()
		})
	}
}

func TestLeavingAStreamOfHTTP2CancelsItsRequestAlone(t *testing.T) {
	var ended collector
	inTLSBubble(t, with(ended.waiting()), func(t *testing.T, r *remote) {
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := r.do(ctx, "POST", "/mcp", modern(call("1", "wait", "{}")), header(modernHeader("tools/call", "wait")...))
			left <- err
		}()
		other := later(func() reply { return r.call("sleep", `{"seconds":40}`) })
		s := r.openStream()
		s.say(call("3", "wait", "{}"))
		synctest.Wait()
		leave()
		<-left
		synctest.Wait()
		ended.want(t, gone)
		s.close()
		synctest.Wait()
		ended.want(t, gone, gone)
		if a := <-other; a.text() != "slept" || strings.Count(a.body, ": still here") != 2 {
			t.Errorf("the other got %s", a.body)
		}
	})
}

func TestStreamOfHTTP2ThatIsNotReadIsDropped(t *testing.T) {
	var ended collector
	inTLSBubble(t, with(ended.waiting()), func(t *testing.T, r *remote) {
		r.openAndLeaveUnread(50)
		ended.want(t, gone)
		r.call("echo", `{"text":"well"}`).want("the next call of the connection", "well")
	})
}

func TestBodyThatDoesNotArriveOverHTTP2IsGivenUp(t *testing.T) {
	inTLSBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		body, never := io.Pipe()
		defer never.Close()
		req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+"/mcp", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header()
		began := time.Now()
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if took := time.Since(began); resp.StatusCode != http.StatusRequestTimeout || took != 20*time.Second {
			t.Errorf("got %d after %v", resp.StatusCode, took)
		}
	})
}

func TestClientOfHTTP2ThatTakesNoStreamWaitsAsLongAsItTakes(t *testing.T) {
	inTLSBubble(t, server.Options{}, func(t *testing.T, r *remote) {
		a := r.post(modern(call("1", "sleep", `{"seconds":100}`)), append(modernHeader("tools/call", "sleep"), "Accept", "application/json")...)
		if a.Header.Get("Content-Type") != "application/json" || a.text() != "slept" {
			t.Errorf("got %v, %s", a.Header, a.body)
		}
	})
}

// serial is that of the certificate that a new connection shows.
func (r *remote) serial(t testing.TB) int64 {
	t.Helper()
	r.http1.CloseIdleConnections()
	a := r.send("GET", "/readyz", "", header())
	if a.TLS == nil {
		t.Fatal("no TLS was spoken")
	}
	return a.TLS.PeerCertificates[0].SerialNumber.Int64()
}

func TestCertificatesThatChangeAreTakenAndBrokenOnesAreNot(t *testing.T) {
	ca := newAuthority(t)
	synctest.Test(t, func(t *testing.T) {
		files := ca.files(t)
		var log bytes.Buffer
		r := serveTLS(t, server.Options{Log: logTo(&log)}, server.HTTPOptions{TLS: files}, ca.trusting(), true)
		expect := func(when string, want int64) {
			t.Helper()
			time.Sleep(time.Second)
			if got := r.serial(t); got != want {
				t.Errorf("%s: the certificate has the serial number %d, want %d", when, got, want)
			}
		}
		expect("at first", 2)
		ca.issue(t, files, 3)
		expect("when renewed", 3)
		if err := os.WriteFile(files.CertFile, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		expect("when broken", 3)
		expect("when still broken", 3)
		if n := strings.Count(log.String(), "cannot be loaded"); n != 1 {
			t.Errorf("a broken certificate was logged %d times: %s", n, &log)
		}
		if err := os.Remove(files.KeyFile); err != nil {
			t.Fatal(err)
		}
		expect("when removed", 3)
		ca.issue(t, files, 4)
		expect("when mended", 4)
		ca.issue(t, files, 5)
		if got := r.serial(t); got != 4 {
			t.Errorf("the files were looked at again at once: serial number %d", got)
		}
		expect("a second later", 5)
		r.endTLS()
	})
}

func TestCertificatesOfClientsAreAskedForAndChecked(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	for _, tt := range []struct {
		name   string
		signer *authority // nil shows no certificate
		ok     bool
	}{
		{"its own", ca, true},
		{"a stranger's", stranger, false},
		{"none", nil, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			opts := server.HTTPOptions{TLS: ca.files(t)}
			opts.TLS.ClientCAFile = ca.file
			var seen []string
			opts.Authenticate = func(req *http.Request) (caller.Caller, error) {
				seen = append(seen, req.TLS.VerifiedChains[0][0].Subject.CommonName)
				return caller.Caller{ID: "someone"}, nil
			}
			config := ca.trusting()
			if tt.signer != nil {
				own := tt.signer.files(t)
				pair, err := tls.LoadX509KeyPair(own.CertFile, own.KeyFile)
				if err != nil {
					t.Fatal(err)
				}
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
			}
			r := serveTLS(t, server.Options{}, opts, config, false)
			resp, err := r.do(t.Context(), "POST", "/mcp", initialize, header())
			if (err == nil) != tt.ok || len(seen) > 0 != tt.ok {
				t.Errorf("%s: got %v, and %q were seen", tt.name, err, seen)
			}
			if err == nil {
				resp.Body.Close()
			}
			r.endTLS()
		})
	}
}

func TestOldTLSAndPlainHTTPAreRefused(t *testing.T) {
	ca := newAuthority(t)
	synctest.Test(t, func(t *testing.T) {
		config := ca.trusting()
		config.MaxVersion = tls.VersionTLS11
		config.MinVersion = tls.VersionTLS10
		r := serveTLS(t, server.Options{}, server.HTTPOptions{TLS: ca.files(t)}, config, true)
		if resp, err := r.do(t.Context(), "GET", "/readyz", "", header()); err == nil {
			resp.Body.Close()
			t.Error("TLS 1.1 was spoken")
		}
		r.url = "http://localhost"
		r.send("GET", "/readyz", "", header()).wantStatus("plain HTTP", 400)
		r.endTLS()
	})
}

func TestSocketOfUnixSpeaksNoTLS(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	r := serveOn(t, l, func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
		newServer(t, server.Options{}), server.HTTPOptions{TLS: newAuthority(t).files(t)})
	if a := r.send("GET", "/readyz", "", header()); a.StatusCode != 200 {
		t.Errorf("got %d", a.StatusCode)
	}
	r.end()
}

func TestNewHTTPRefusesCertificatesThatItCannotUse(t *testing.T) {
	ca := newAuthority(t)
	files, other := ca.files(t), ca.files(t)
	for _, tt := range []struct {
		opts server.TLSOptions
		want string
	}{
		{server.TLSOptions{CertFile: files.CertFile}, "a certificate needs its key"},
		{server.TLSOptions{KeyFile: files.KeyFile}, "a certificate needs its key"},
		{server.TLSOptions{ClientCAFile: ca.file}, "and so a certificate of the server"},
		{server.TLSOptions{CertFile: files.CertFile, KeyFile: other.KeyFile}, other.KeyFile},
		{server.TLSOptions{CertFile: "nowhere.pem", KeyFile: files.KeyFile}, "nowhere.pem"},
		{server.TLSOptions{CertFile: files.CertFile, KeyFile: files.KeyFile, ClientCAFile: files.KeyFile}, "no certificate in " + files.KeyFile},
		{server.TLSOptions{CertFile: files.CertFile, KeyFile: files.KeyFile, ClientCAFile: "nowhere.pem"}, "nowhere.pem"},
	} {
		_, err := server.NewHTTP(newServer(t, server.Options{}), server.HTTPOptions{TLS: tt.opts})
		if err == nil || !strings.HasPrefix(err.Error(), "server: option TLS: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: got %v, want %q", tt.opts, err, tt.want)
		}
	}
}
