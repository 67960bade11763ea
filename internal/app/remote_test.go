package app

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
)

// served is the program while it serves HTTP.
type served struct {
	t       *testing.T
	cmd     *exec.Cmd
	end     os.Signal   // that ends it
	log     chan string // its lines
	address string
	client  *http.Client
	scheme  string
	key     string // sent with calls; "" for none
}

// serveAt starts the program at a port of the loopback interface.
func serveAt(t *testing.T, args ...string) *served {
	t.Helper()
	return serveOf(t, t.TempDir(), args...)
}

// serveOf is serveAt with a home directory, where the program may keep files.
func serveOf(t *testing.T, home string, args ...string) *served {
	t.Helper()
	return serveWith(t, home, nil, args...)
}

// serveWith is serveOf with variables in the environment.
func serveWith(t *testing.T, home string, env []string, args ...string) *served {
	t.Helper()
	s := &served{t: t, end: os.Interrupt, log: make(chan string, 1000), scheme: "http", client: &http.Client{Timeout: time.Minute}}
	s.cmd = exec.Command(os.Args[0], append([]string{"--listen=127.0.0.1:0"}, args...)...)
	s.cmd.Env = append(env, "BE_OLLAMA_MCP=1", "HOME="+home, "GORACE=atexit_sleep_ms=0")
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.log)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			s.log <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		if err := s.cmd.Process.Signal(s.end); err != nil {
			t.Error(err)
		}
		// A server that does not end says where it hangs.
		hangs := time.AfterFunc(2*time.Minute, func() { _ = s.cmd.Process.Signal(syscall.SIGQUIT) })
		defer hangs.Stop()
		var rest []string
		for line := range s.log {
			rest = append(rest, line)
		}
		if err := s.cmd.Wait(); err != nil {
			t.Errorf("it ended with %v\n%s", err, strings.Join(rest, "\n"))
		}
	})
	s.address = s.logs(`address=(\S+)`)
	return s
}

// logs waits for a line of the log, and returns what is in its parentheses.
func (s *served) logs(pattern string) string {
	s.t.Helper()
	want, deadline := regexp.MustCompile(pattern), time.After(5*time.Minute)
	for {
		select {
		case line, more := <-s.log:
			if !more {
				s.t.Fatalf("it ended, and never logged %s", pattern)
			}
			if found := want.FindStringSubmatch(line); found != nil {
				return found[len(found)-1]
			}
		case <-deadline:
			s.t.Fatalf("it never logged %s", pattern)
		}
	}
}

// post sends a request of the protocol since 2026-07-28.
func (s *served) post(method, name, params string) (status int, header http.Header, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "POST", s.scheme+"://"+s.address+"/mcp", strings.NewReader(
		`{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{`+params+`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {method},
	}
	if name != "" {
		req.Header.Set("Mcp-Name", name)
	}
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(raw)
}

// generate calls the tool, and wants what it answers to hold some words.
func (s *served) generate(model string, words ...string) {
	s.t.Helper()
	status, _, body := s.post("tools/call", "generate", `"name":"generate","arguments":{"model":"`+model+`","prompt":"hi"},`)
	if status != http.StatusOK {
		s.t.Errorf("status %d: %s", status, body)
	}
	for _, word := range words {
		if !strings.Contains(body, word) {
			s.t.Errorf("%q is not in %s", word, body)
		}
	}
}

// newKey has the program make a key, and returns it and the line to store.
func newKey(t *testing.T, name string) (key, line string) {
	t.Helper()
	out, errs, status := program(t, "", nil, "token", "new", name)
	lines := regexp.MustCompile(`(?m)^- \{.*\}$`).FindAllString(errs, -1)
	if key = strings.TrimSpace(out); status != ok || len(lines) != 1 || strings.Contains(errs, key) {
		t.Fatalf("token new: status %d, %q, %q", status, out, errs)
	}
	return key, lines[0]
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCallersOverHTTPNeedTheirKeysAndMayWhatTheseAllow(t *testing.T) {
	host := backendtest.New("gpu-1").Answer("quick brown fox").Install(backendtest.Model{Name: "open:1b"}, backendtest.Model{Name: "secret:1b"})
	file := filepath.Join(t.TempDir(), "keys.yaml")
	key, line := newKey(t, "ci")
	write(t, file, strings.Replace(line, "}", `, tools: [generate], models: ["open:*"]}`, 1)+"\n")
	s := serveAt(t, "--host="+host.Listen(t), "--token-file="+file)

	status, header, body := s.post("tools/list", "", "")
	if status != http.StatusUnauthorized || !strings.HasPrefix(header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("without a key: %d, %v, %s", status, header, body)
	}
	s.key = "omcp_wrong"
	if status, header, body = s.post("tools/list", "", ""); status != http.StatusUnauthorized || !strings.Contains(header.Get("WWW-Authenticate"), "invalid_token") || strings.Contains(body, "omcp_wrong") {
		t.Errorf("with a wrong key: %d, %v, %s", status, header, body)
	}
	s.key = key
	var list struct {
		Result struct{ Tools []struct{ Name string } }
	}
	if status, _, body = s.post("tools/list", "", ""); status != http.StatusOK || json.Unmarshal([]byte(body), &list) != nil || len(list.Result.Tools) != 2 {
		t.Errorf("with its key: %d, %s; want generate and job", status, body)
	}
	s.generate("open:1b", "quick brown fox")
	s.generate("secret:1b", `"code":"forbidden"`)

	other, line := newKey(t, "other")
	write(t, file, line+"\n")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.logs("config (reloaded)")
	if status, _, _ := s.post("tools/list", "", ""); status != http.StatusUnauthorized {
		t.Errorf("with a key that is there no more: %d", status)
	}
	s.key = other
	s.generate("secret:1b", "quick brown fox")

	write(t, file, "- {name: broken\n")
	s.logs("config (refused).*keys.yaml:")
	s.generate("open:1b", "quick brown fox")
}

func TestCallReachesAServerThatRuns(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.yaml")
	key, line := newKey(t, "operator")
	write(t, file, line+"\n")
	s := serveAt(t, "--host="+backendtest.New("gpu-1").Listen(t), "--token-file="+file)
	s.key = key
	s.generate("tiny", `"text":"hi"`)
	url := "--url=http://" + s.address + "/mcp"
	for _, c := range []struct {
		key    string
		args   []string
		status int
		out    string // part of it
		errs   string
	}{
		{key, []string{"call", url, "status"}, 0, "1: 1 answered\n", ""},
		{key, []string{"call", url, "status", "--json"}, 0, `"served": 1`, ""},
		{"", []string{"call", url, "status"}, 3, "", "the server wants a key: set OLLAMA_MCP_KEY"},
		{"omcp_of_another_server", []string{"call", url, "status"}, 3, "", "does not accept the key in OLLAMA_MCP_KEY"},
		{key, []string{"call", "--url=http://" + s.address, "status"}, 3, "", "the URL usually ends in /mcp"},
		{key, []string{"call", "--url=" + s.address, "status"}, 2, "", "--url: must begin with http"},
	} {
		out, errs, status := program(t, "", []string{"OLLAMA_MCP_KEY=" + c.key}, c.args...)
		if status != c.status || !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) || strings.Contains(errs, key) {
			t.Errorf("%v: status %d, %q, %q", c.args, status, out, errs)
		}
	}
}

func TestHangUpEndsAServerWithoutFilesInGoodOrder(t *testing.T) {
	// If these tests were started with nohup, the server would inherit that the signal is ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	s := serveAt(t)
	s.end = syscall.SIGHUP
}

func TestOtherMachinesMayConnectOnlyIfTheyProveWhoTheyAre(t *testing.T) {
	_, errs, status := program(t, "", nil, "--listen=0.0.0.0:0")
	for _, way := range []string{"--token-file", "--tls-client-ca", "--oauth-issuer", "--insecure"} {
		if status != failure || !strings.Contains(errs, way) {
			t.Errorf("status %d, %q; want to be told of %s", status, errs, way)
		}
	}
	file := filepath.Join(t.TempDir(), "keys.yaml")
	_, line := newKey(t, "ci")
	write(t, file, line)
	s := serveAt(t, "--listen=0.0.0.0:0", "--token-file="+file)
	if address := s.logs(`address=(\S+)`); !strings.HasPrefix(address, "[::]") && !strings.HasPrefix(address, "0.0.0.0") {
		t.Errorf("it listens on %s", address)
	}
}

func TestClientsLearnWhereToGetATokenOfTheIssuer(t *testing.T) {
	s := serveAt(t, "--oauth-issuer=https://login.example.com", "--oauth-audience=https://mcp.example.com/mcp")
	_, header, _ := s.post("tools/list", "", "")
	s.logs(`msg="request refused" reason=unauthorized transport=http client=127\.0\.0\.1:\d+ .*request=` + header.Get("X-Request-Id") + ` .*status=401`)
	where := regexp.MustCompile(`resource_metadata="https://mcp\.example\.com(/[^"]*)"`).FindStringSubmatch(header.Get("WWW-Authenticate"))
	if where == nil {
		t.Fatalf("the challenge is %q", header.Get("WWW-Authenticate"))
	}
	resp, err := s.client.Get("http://" + s.address + where[1])
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc struct {
		Resource string
		Servers  []string `json:"authorization_servers"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil || doc.Resource != "https://mcp.example.com/mcp" || len(doc.Servers) != 1 || doc.Servers[0] != "https://login.example.com" {
		t.Errorf("got %+v, %v", doc, err)
	}
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate for a name, and signs it; without an authority itself.
func (a *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: a == nil, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if a == nil {
		a = &authority{template, key}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert := tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
	if cert.Leaf, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	return cert
}

// save writes a certificate and its key in PEM.
func save(t *testing.T, cert tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})))
}

func TestHTTPSWithClientCertificatesAndCertificatesThatChange(t *testing.T) {
	host := backendtest.New("gpu-1").Answer("quick brown fox")
	dir := t.TempDir()
	root := (*authority)(nil).issue(t, "root")
	ca := &authority{root.Leaf, root.PrivateKey.(*ecdsa.PrivateKey)}
	certFile, keyFile, caFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	first := ca.issue(t, "first")
	save(t, first, certFile, keyFile)
	save(t, root, caFile, filepath.Join(dir, "unused.pem"))
	s := serveAt(t, "--host="+host.Listen(t), "--tls-cert="+certFile, "--tls-key="+keyFile, "--tls-client-ca="+caFile)

	pool := x509.NewCertPool()
	pool.AddCert(root.Leaf)
	connect := func(certs ...tls.Certificate) {
		s.scheme = "https"
		s.client.CloseIdleConnections()
		s.client.Transport = &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}}
	}
	connect()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "https://"+s.address+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := s.client.Do(req); err == nil {
		resp.Body.Close()
		t.Error("a client without a certificate was served")
	}
	connect(ca.issue(t, "ci"))
	s.generate("tiny", "quick brown fox")

	second := ca.issue(t, "second")
	save(t, second, certFile, keyFile)
	for presented := ""; presented != "second"; { // it looks once a second
		connect(ca.issue(t, "ci"))
		resp, err := s.client.Do(req.Clone(ctx))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		presented = resp.TLS.PeerCertificates[0].Subject.CommonName
		if resp.ProtoMajor != 2 {
			t.Errorf("spoken is %s, want HTTP/2", resp.Proto)
		}
	}
	s.generate("tiny", "quick brown fox")
}
