package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ollama-mcp/internal/e2e/procgroup"
)

// stackHost is the host name of the server in examples/production-stack.
const stackHost = "mcp.example.com"

func TestNginxPassesOnThePathsOfClientsAndNoOthers(t *testing.T) {
	var reached atomic.Int64
	client := startNginx(t, serveStub(t, func(_ http.ResponseWriter, req *http.Request) { reached.Add(1) }))
	for path, passes := range map[string]bool{
		"/mcp": true, "/sse": true, "/message?sessionId=1": true, "/readyz": true,
		"/.well-known/oauth-protected-resource": true, "/.well-known/oauth-protected-resource/mcp": true,
		"/.well-known/oauth-protected-resource/sse": true,

		"/": false, "/healthz": false, "/metrics": false, "/debug/pprof/": false, "/api/tags": false, "/v1/models": false,
		"/mcp/": false, "/mcp/metrics": false, "/mcpx": false, "/readyz/..": false,
		"/mcp/../metrics": false, "/mcp%2f..%2fmetrics": false, "/mcp/%2e%2e/metrics": false, "//metrics": false,
	} {
		before := reached.Load()
		status, body := fetch(t, client, request(t, "GET", "https://"+stackHost+path, ""))
		if passed := reached.Load() > before; passed != passes || passed != (status == 200) {
			t.Errorf("%s: status %d, passed on: %v, want %v; %.200s", path, status, passed, passes, body)
		}
	}
}

func TestNginxKeepsItsConnectionsAndNumbersRequests(t *testing.T) {
	type seen struct{ from, host, id, connection string }
	requests := make(chan seen, 1)
	client := startNginx(t, serveStub(t, func(_ http.ResponseWriter, req *http.Request) {
		requests <- seen{req.RemoteAddr, req.Host, req.Header.Get("X-Request-Id"), req.Header.Get("Connection")}
	}))
	connections, ids := map[string]bool{}, map[string]bool{}
	for range 20 {
		res, err := client.Do(request(t, "POST", "https://"+stackHost+"/mcp", "{}"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		client.CloseIdleConnections() // the next one is another client to nginx
		got := <-requests
		connections[got.from], ids[got.id] = true, true
		if got.host != stackHost || got.connection != "" || got.id != res.Header.Get("X-Request-Id") || len(got.id) != 32 {
			t.Errorf("got %+v, and the client X-Request-Id %q", got, res.Header.Get("X-Request-Id"))
		}
	}
	if len(connections) != 1 || len(ids) != 20 {
		t.Errorf("20 requests had %d ids and came over %d connections, want 20 and 1", len(ids), len(connections))
	}
}

func TestNginxPassesOnAStreamAsItComesUntilTheClientLeaves(t *testing.T) {
	var left atomic.Bool
	words := make(chan string)
	client := startNginx(t, serveStub(t, func(w http.ResponseWriter, req *http.Request) {
		defer left.Store(true)
		for {
			_ = http.NewResponseController(w).Flush() // if it cannot, the client gets nothing
			select {
			case word := <-words:
				_, _ = io.WriteString(w, word)
			case <-req.Context().Done():
				return
			}
		}
	}))
	ctx, leave := context.WithCancel(deadline(t))
	defer leave()
	res, err := client.Do(request(t, "GET", "https://"+stackHost+"/sse", "").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, word := range []string{"one", "two", "three"} {
		words <- word
		got := make([]byte, len(word))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != word {
			t.Fatalf("got %q, %v, want %q before there is more to come", got, err, word)
		}
	}
	leave()
	eventually(t, "the server is told that the client has left", left.Load)
}

func TestNginxPassesOnAMessageAsItComes(t *testing.T) {
	const half = `{"jsonrpc":`
	var arrived atomic.Bool
	client := startNginx(t, serveStub(t, func(_ http.ResponseWriter, req *http.Request) {
		got := make([]byte, len(half))
		_, err := io.ReadFull(req.Body, got)
		arrived.Store(err == nil && string(got) == half)
		_, _ = io.Copy(io.Discard, req.Body) // whether it ends well is up to the client
	}))
	req := request(t, "POST", "https://"+stackHost+"/mcp", "")
	body, message := io.Pipe()
	defer message.Close()
	req.Body, req.ContentLength = body, -1
	done := make(chan error, 1)
	go func() {
		res, err := client.Do(req)
		if err == nil {
			res.Body.Close()
		}
		done <- err
	}()
	if _, err := io.WriteString(message, half); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server has half of the message", arrived.Load)
	message.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNginxTellsTheServerOfAClientThatLeavesBeforeTheAnswer(t *testing.T) {
	var left atomic.Bool
	ctx, leave := context.WithCancel(deadline(t))
	client := startNginx(t, serveStub(t, func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body) // before that net/http does not notice that the client has left
		leave()
		<-req.Context().Done()
		left.Store(true)
	}))
	if _, err := client.Do(request(t, "POST", "https://"+stackHost+"/mcp", "{}").WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v, want that it left", err)
	}
	eventually(t, "the server is told", left.Load)
}

// With the rate as it is, a machine that is slow enough would never exceed it.
func TestNginxRefusesAFlood(t *testing.T) {
	client := startNginx(t, serveStub(t, func(http.ResponseWriter, *http.Request) {}), "rate=20r/s;", "rate=1r/m;")
	served, began := 0, time.Now()
	for range 2000 {
		status, _ := fetch(t, client, request(t, "GET", "https://"+stackHost+"/readyz", ""))
		if status == http.StatusTooManyRequests {
			break
		}
		served++
	}
	if most := 201 + int(time.Since(began).Minutes()) + 1; served < 201 || served > most {
		t.Errorf("%d requests were served, want one and the burst of 200, and at most %d", served, most)
	}
}

// startNginx starts nginx, as examples/production-stack configures it, before a server.
// Whatever host its client calls, it gets to that nginx. changes are pairs of a text in the
// configuration and of what to replace it with.
func startNginx(t *testing.T, server string, changes ...string) *http.Client {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	trusted := writeCertificate(t, dir)
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(adapt(t, stackFile(t, "nginx.conf"), append(changes,
		"listen 8443 ", "listen "+address+" ",
		"server ollama-mcp:8383;", "server "+server+";",
		"/etc/nginx/tls/", dir+"/",
		"/tmp/", dir+"/",
	))), 0o600); err != nil {
		t.Fatal(err)
	}

	cmd := exec.CommandContext(deadline(t), nginxProgram(t), "-p", dir, "-c", config, "-e", "stderr", "-g", "daemon off; master_process off;")
	var log buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	group, err := procgroup.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted, ServerName: stackHost},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("nginx did not end in good order: %v", err)
		}
		group.Kill()
		if t.Failed() {
			t.Logf("the log of nginx:\n%s", log.tail())
		}
	})
	eventually(t, "nginx listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return &http.Client{Transport: transport}
}

// nginxProgram is where Debian has it, if the user's PATH leads nowhere.
func nginxProgram(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if found, err := exec.LookPath(name); err == nil {
			return found
		}
	}
	t.Fatal("nginx is not installed; on Debian: apt-get install nginx")
	return ""
}

// adapt replaces the first text of each pair, which must be there, by the second.
func adapt(t *testing.T, text string, pairs []string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("nginx.conf has no %q", pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// writeCertificate makes a self-signed certificate.
func writeCertificate(t *testing.T, dir string) (trusted *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{stackHost}, NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"fullchain.pem": {Type: "CERTIFICATE", Bytes: certificate},
		"privkey.pem":   {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		t.Fatal(err)
	}
	trusted = x509.NewCertPool()
	trusted.AddCert(parsed)
	return trusted
}

// serveStub starts a server to which nginx passes requests on.
func serveStub(t *testing.T, handle http.HandlerFunc) (address string) {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func request(t *testing.T, method, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(deadline(t), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func fetch(t *testing.T, client *http.Client, req *http.Request) (status int, body string) {
	t.Helper()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}
