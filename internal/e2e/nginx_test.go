package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
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

	"ollama-mcp/internal/e2e"
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
		"/api/generate": true, "/api/chat": true, "/api/embed": true, "/api/embeddings": true, "/api/tags": true,
		"/api/show": true, "/api/ps": true, "/api/version": true, "/v1/chat/completions": true, "/v1/completions": true,
		"/v1/embeddings": true, "/v1/models": true,

		"/": false, "/healthz": false, "/metrics": false, "/debug/pprof/": false, "/dashboard/events": false,
		"/api/pull": false, "/api/push": false, "/api/copy": false, "/api/create": false, "/api/delete": false, "/api/blobs/x": false,
		"/api": false, "/api/chat/": false, "/v1": false, "/v1/models/tiny": false, "/v1/chat/completions/..": false, "/API/chat": false,
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

// With the rates as they are, a machine that is slow enough would never exceed them.
func TestNginxRefusesAFloodOfOneKindOfRequestAndServesTheOthers(t *testing.T) {
	client := startNginx(t, serveStub(t, func(http.ResponseWriter, *http.Request) {}),
		"zone=requests:10m rate=20r/s;", "zone=requests:10m rate=1r/m;",
		"zone=chat:10m rate=5r/s;", "zone=chat:10m rate=1r/m;",
		"zone=generate:10m rate=5r/s;", "zone=generate:10m rate=1r/m;",
		"zone=embeddings:10m rate=50r/s;", "zone=embeddings:10m rate=1r/m;")
	for _, kind := range []struct {
		burst   int
		refusal string // as the API of the last path has it
		paths   []string
	}{
		{50, `{"error":{"message":"too many requests`, []string{"/api/chat", "/v1/chat/completions"}},
		{50, `{"error":{"message":"too many requests`, []string{"/api/generate", "/v1/completions"}},
		{500, `{"error":{"message":"too many requests`, []string{"/api/embed", "/api/embeddings", "/v1/embeddings"}},
		{200, `{"error":"too many requests`, []string{"/mcp", "/v1/models", "/api/tags", "/readyz"}},
	} {
		began, served := time.Now(), 0
		for ; served < 2000; served++ {
			if status, _ := fetch(t, client, request(t, "GET", "https://"+stackHost+kind.paths[served%len(kind.paths)], "")); status != 200 {
				break
			}
		}
		if most := kind.burst + 1 + int(time.Since(began).Minutes()) + 1; served <= kind.burst || served > most {
			t.Errorf("%v: %d requests were served, want one and the burst of %d, and at most %d", kind.paths, served, kind.burst, most)
		}
		res, err := client.Do(request(t, "GET", "https://"+stackHost+kind.paths[len(kind.paths)-1], ""))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 429 || res.Header.Get("Retry-After") != "1" || !json.Valid(text) || !strings.HasPrefix(string(text), kind.refusal) {
			t.Errorf("%v: got %d, Retry-After %q, %s, %v", kind.paths, res.StatusCode, res.Header["Retry-After"], text, err)
		}
	}
}

func TestEachResponseOfNginxHasTheHeadersThatProtectBrowsersOnce(t *testing.T) {
	client := startNginx(t, serveStub(t, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff") // as pages of ours have it
		w.Header().Set("Referrer-Policy", "origin")
		if req.URL.Path == "/api/chat" {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(429)
		}
	}))
	for _, row := range []struct {
		path, body, retryAfter string
		status                 int
	}{
		{"/readyz", "", "", 200},
		{"/metrics", "", "", 404},
		{"/api/chat", "", "7", 429}, // of the server, which knows when
		{"/mcp", strings.Repeat("x", 20<<20+1), "", 413},
	} {
		res, err := client.Do(request(t, "POST", "https://"+stackHost+row.path, row.body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != row.status || res.Header.Get("Retry-After") != row.retryAfter {
			t.Errorf("%s: got %d, Retry-After %q", row.path, res.StatusCode, res.Header["Retry-After"])
		}
		for name, want := range map[string]string{
			"Strict-Transport-Security": "max-age=31536000", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
		} {
			if got := res.Header[name]; len(got) != 1 || got[0] != want {
				t.Errorf("%s: got %s %q, want %q once", row.path, name, got, want)
			}
		}
		if strings.ContainsAny(res.Header.Get("Server"), "0123456789") {
			t.Errorf("%s: Server: %s", row.path, res.Header.Get("Server"))
		}
	}
}

func TestNginxRedirectsToHTTPSWhatWasAskedForWithoutAKey(t *testing.T) {
	client := *startNginx(t, serveStub(t, func(http.ResponseWriter, *http.Request) { t.Error("the server was asked without TLS") }))
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, row := range []struct {
		method, path, key, location string
		status                      int
		words                       string
	}{
		{"GET", "/v1/models?x=1", "", "https://" + stackHost + "/v1/models?x=1", 301, ""},
		{"HEAD", "/", "", "https://" + stackHost + "/", 301, ""},
		{"GET", "/v1/models", "secret", "", 403, `{"error":{"message":"use https`},
		{"POST", "/api/chat", "", "", 403, `{"error":"use https`},
		{"POST", "/mcp", "secret", "", 403, `{"error":"use https`},
	} {
		req := request(t, row.method, "http://"+stackHost+row.path, "")
		if row.key != "" {
			req.Header.Set("Authorization", "Bearer "+row.key)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != row.status || res.Header.Get("Location") != row.location || !strings.Contains(string(text), row.words) {
			t.Errorf("%s %s: got %d to %q, %s, %v", row.method, row.path, res.StatusCode, res.Header.Get("Location"), text, err)
		}
	}
}

func TestNginxSaysInTheFormOfTheAPIThatNothingAnswers(t *testing.T) {
	client := startNginx(t, freeAddress(t))
	for path, want := range map[string]string{"/api/chat": `{"error":"ollama-mcp is not running; try again shortly"}`, "/v1/models": `{"error":{"message":"ollama-mcp is not running; try again shortly"}}`} {
		if status, body := fetch(t, client, request(t, "GET", "https://"+stackHost+path, "")); status != 502 || body != want {
			t.Errorf("%s: got %d %s", path, status, body)
		}
	}
}

func TestNginxSaysWhereACallComesFromWhateverTheClientSays(t *testing.T) {
	from := make(chan []string, 1)
	client := startNginx(t, serveStub(t, func(_ http.ResponseWriter, req *http.Request) { from <- req.Header["X-Forwarded-For"] }))
	req := request(t, "GET", "https://"+stackHost+"/readyz", "")
	req.Header.Set("X-Forwarded-For", "192.0.2.1")
	fetch(t, client, req)
	if got := <-from; len(got) != 1 || got[0] != "127.0.0.1" {
		t.Errorf("the server was told %q", got)
	}
}

// startNginx starts nginx, as examples/production-stack configures it, before a server.
// Whatever host its client calls, it gets to that nginx. changes are pairs of a text in the
// configuration and of what to replace it with.
func startNginx(t *testing.T, server string, changes ...string) *http.Client {
	t.Helper()
	_, client := nginxAt(t, server, changes...)
	return client
}

// nginxAt does what startNginx does, and returns where that nginx listens as well.
func nginxAt(t *testing.T, server string, changes ...string) (address string, client *http.Client) {
	t.Helper()
	dir, address, plain := t.TempDir(), freeAddress(t), freeAddress(t)
	trusted := writeCertificate(t, dir)
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(adapt(t, stackFile(t, "nginx.conf"), append(changes,
		"listen 8443 ", "listen "+address+" ",
		"listen 8080 ", "listen "+plain+" ",
		"server ollama-mcp:8383;", "server "+server+";",
		"/etc/nginx/tls/", dir+"/",
		"/tmp/", dir+"/",
	))), 0o600); err != nil {
		t.Fatal(err)
	}

	runNginx(t, dir, address, "master_process off;")
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted, ServerName: stackHost},
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			if strings.HasSuffix(to, ":80") {
				return new(net.Dialer).DialContext(ctx, network, plain)
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return address, &http.Client{Transport: transport}
}

// runNginx runs nginx with the nginx.conf in a directory until the test has ended, and waits until it
// listens at an address.
func runNginx(t *testing.T, dir, address, directives string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(deadline(t), nginxProgram(t), "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr", "-g", "daemon off;"+directives)
	var log buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	group, err := procgroup.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
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
	return cmd
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
	address, err := e2e.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
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
