package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/doctor"
)

func TestDoctorReadsWhatTheFileSaysOfModels(t *testing.T) {
	t.Parallel()
	address := backendtest.New("gpu-1").Listen(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	write(t, file, `
hosts: [{name: gpu, url: "`+address+`"}]
models:
  pro: {try: [inner, "alsonot:7b"]}
  inner: {try: [nope, inner]}
  tiny: {keep_alive: 5m}
  odd: {num_ctx: 4096}
fallback: [nothere:1b]
semantic-cache: "on"
guard: {model: watcher, prompt: "is {{answer}} fine?"}
`)
	out, errs, status := program(t, "", nil, "doctor", "--json", "--config="+file)
	var got struct{ Findings []doctor.Finding }
	if err := json.Unmarshal([]byte(out), &got); err != nil || status != failure {
		t.Fatalf("status %d, %v\n%s%s", status, err, out, errs)
	}
	found := make(map[string]doctor.Level)
	for _, f := range got.Findings {
		found[f.Subject] = f.Level
	}
	for subject, want := range map[string]doctor.Level{
		"alias pro": doctor.Fail, "alias inner": doctor.Fail, "models: odd": doctor.Warn, "fallback": doctor.Warn,
		"semantic-model": doctor.Warn, "guard": doctor.Fail, "models: tiny": "",
	} {
		if found[subject] != want {
			t.Errorf("%s: got %q, want %q in\n%s", subject, found[subject], want, out)
		}
	}
}

// certificate writes a certificate and its key that are valid until then.
func certificate(t *testing.T, until time.Time, names ...string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.AddDate(-1, 0, 0), NotAfter: until, DNSNames: names}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	return certFile, keyFile
}

func TestDoctorLooksAtCertificates(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		until time.Time
		names []string
		want  doctor.Level
	}{
		{now.AddDate(0, 6, 0), []string{"a.example"}, doctor.OK},
		{now.AddDate(0, 0, 7), []string{"a.example"}, doctor.Warn},
		{now.AddDate(0, 0, -1), []string{"a.example"}, doctor.Fail},
		{now.AddDate(2, 0, 0), []string{"a.example"}, doctor.Fail}, // valid only in a year
		{now.AddDate(0, 6, 0), nil, doctor.Warn},
	} {
		certFile, keyFile := certificate(t, c.until, c.names...)
		if got := certificateFinding(certFile, keyFile, now); got.Level != c.want || got.Next == "" && got.Level != doctor.OK {
			t.Errorf("until %v for %v: got %+v, want %s", c.until, c.names, got, c.want)
		}
	}
	one, _ := certificate(t, now.AddDate(0, 6, 0), "a.example")
	_, other := certificate(t, now.AddDate(0, 6, 0), "a.example")
	if got := certificateFinding(one, other, now); got.Level != doctor.Fail {
		t.Errorf("a key of another certificate: %+v", got)
	}
}

func TestDoctorNamesKeysThatHaveExpiredOrAreAboutTo(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	key := func(name string, left time.Duration) config.Key {
		return config.Key{Caller: caller.Caller{ID: name}, Expires: now.Add(left)}
	}
	keys := []config.Key{{Caller: caller.Caller{ID: "forever"}}, key("old", -time.Hour), key("now", 0), key("soon", time.Minute), key("later", 8*24*time.Hour)}
	for i := range 5 {
		keys = append(keys, key(fmt.Sprint("old-", i), -time.Hour))
	}
	var got []string
	for _, f := range expiryFindings("keys.yaml", keys, now) {
		if f.Level != doctor.Warn || !strings.Contains(f.Next, "keys.yaml") {
			t.Errorf("%+v", f)
		}
		got = append(got, f.Text)
	}
	if want := []string{"expired, and refused: old, now, old-0, old-1, old-2 and 2 more", "expire within a week: soon"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDoctorNamesFoldersThatCannotBeWrittenToAndLeavesNothingInThem(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, "")
	for _, c := range []struct {
		c    config.Config
		want string // what is wrong; "" for nothing
	}{
		{config.Config{}, ""},
		{config.Config{StateDir: dir, CallLog: filepath.Join(dir, "calls.jsonl")}, ""},
		{config.Config{StateDir: filepath.Join(dir, "new", "state")}, ""}, // which the server would create
		{config.Config{StateDir: file}, "state-dir"},
		{config.Config{StateDir: filepath.Join(file, "state")}, "state-dir"},
		{config.Config{CallLog: filepath.Join(dir, "new", "calls.jsonl")}, "call-log"}, // which it would not
	} {
		got := ""
		for _, f := range folderFindings(c.c) {
			got += f.Subject
			if f.Level != doctor.Warn || strings.Contains(f.Text, ".ollama-mcp.") {
				t.Errorf("%+v", f)
			}
		}
		if got != c.want {
			t.Errorf("state in %q, log in %q: findings on %q, want %q", c.c.StateDir, c.c.CallLog, got, c.want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v, %v; want only the file that was there", left, err)
	}
}

func TestDoctorLooksAtListeningAddressesAndKeys(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	write(t, empty, "nothing")
	for _, c := range []struct {
		name string
		c    config.Config
		want string
	}{
		{"this machine only", config.Config{Listen: []string{"127.0.0.1:0"}}, "ok listen 127.0.0.1:0: free; only this machine"},
		{"open to all", config.Config{Listen: []string{"0.0.0.0:0"}}, "fail listen 0.0.0.0:0: other machines can connect"},
		{"open to all, as wanted", config.Config{Listen: []string{"0.0.0.0:0"}, Insecure: true}, "warn listen 0.0.0.0:0: free; everybody"},
		{"with keys", config.Config{Listen: []string{"0.0.0.0:0"}, Keys: []config.Key{{}}, KeyFiles: map[string][]config.Key{"keys.yaml": {{}}}}, "ok keys: 1 in keys.yaml"},
		{"with no key in the file", config.Config{Listen: []string{"127.0.0.1:0"}, Keys: []config.Key{}}, "warn keys: there are none"},
		{"taken", config.Config{Listen: []string{taken.Addr().String()}}, "warn listen " + taken.Addr().String() + ": a program listens there"},
		{"an address of another machine", config.Config{Listen: []string{"192.0.2.1:80"}, Insecure: true}, "fail listen 192.0.2.1:80"},
		{"a socket", config.Config{Listen: []string{"unix:" + filepath.Join(t.TempDir(), "s")}}, ": a socket for this user"},
		{"a socket in no directory", config.Config{Listen: []string{"unix:/nowhere/s"}}, "there is no directory /nowhere"},
		{"no session key", config.Config{Listen: []string{"127.0.0.1:0"}, SessionKeyFile: "/nowhere/key"}, "fail session-key-file"},
		{"an authority that is none", config.Config{Listen: []string{"127.0.0.1:0"}, TLSClientCA: empty}, "fail tls-client-ca"},
	} {
		var all strings.Builder
		for _, f := range listenFindings(c.c) {
			all.WriteString(string(f.Level) + " " + f.Subject + ": " + f.Text + "\n")
			if f.Level != doctor.OK && f.Next == "" {
				t.Errorf("%s: no next step: %+v", c.name, f)
			}
		}
		if !strings.Contains(all.String(), c.want) {
			t.Errorf("%s: got\n%s\nwant %q", c.name, all.String(), c.want)
		}
	}
}
