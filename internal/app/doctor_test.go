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

func TestDoctorSaysWhereTheAddressIsFrom(t *testing.T) {
	t.Parallel()
	address := backendtest.New("gpu-1").Listen(t)
	bare := strings.TrimPrefix(address, "http://")
	file := filepath.Join(t.TempDir(), "config.yaml")
	write(t, file, "hosts: [{name: gpu, url: \""+address+"\"}]\n")
	for _, c := range []struct {
		env, args []string
		want      string
	}{
		{nil, []string{"--host=" + address}, "ok    address: " + bare + ", from --host\n"},
		{nil, []string{"--config=" + file}, "ok    address: " + bare + ", from " + file + "\n"},
		{[]string{"OLLAMA_HOST=" + address}, nil, "ok    address: " + bare + ", from OLLAMA_HOST of this shell\n"},
		{[]string{"OLLAMA_HOST=" + address}, nil, `"env": {"OLLAMA_HOST": "` + bare + `"}`},
		{[]string{"OLLAMA_MCP_HOST=" + address}, nil, `does not get OLLAMA_MCP_HOST`},
		{nil, nil, "ok    address: 127.0.0.1:11434, the default"},
		{nil, []string{"--host=" + address + "/v1/"}, "leave out /v1"},
		{nil, []string{"--host=http://me:sesame@" + bare}, "ok    address: " + bare + ", from --host\n"},
	} {
		out, errs, _ := program(t, "", c.env, append([]string{"doctor"}, c.args...)...)
		if !strings.Contains(out, c.want) || strings.Contains(out+errs, "sesame") {
			t.Errorf("%v %v: got\n%s%s\nwant %q", c.env, c.args, out, errs, c.want)
		}
	}
}

func TestDoctorLooksAtWhatMCPHostsWouldStart(t *testing.T) {
	t.Parallel()
	program, address := installed(t), backendtest.New("gpu-1").Listen(t)
	for _, c := range []struct {
		name, entry string
		status      int
		want        string
	}{
		{"as this shell", `{"command": "PROGRAM", "env": {"OLLAMA_HOST": "ADDRESS"}}`, ok, "ok    Cursor: starts PROGRAM with Ollama at "},
		{"without the address", `{"command": "PROGRAM", "env": {"OLLAMA_HOST": "127.0.0.1:1"}}`, failure, "fail  Cursor: uses Ollama at 127.0.0.1:1, and this shell "},
		{"another that answers", `{"command": "PROGRAM", "args": ["--host", "OTHER"]}`, ok, "warn  Cursor: uses Ollama at "},
		{"a program that is gone", `{"command": "/nowhere/ollama-mcp"}`, failure, "/nowhere/ollama-mcp, which does not exist"},
		{"a program that is nowhere", `{"command": "ollama-mcp"}`, failure, "not on the PATH"},
		{"a mistake in the options", `{"command": "PROGRAM", "args": ["--slots=x"]}`, failure, "does not start as this host starts it: --slots"},
		{"a variable of the shell", `{"command": "PROGRAM", "args": ["--config", "FILE"]}`, failure, "add the variable that it names to env"},
		{"a container with a network of its own", `{"command": "DOCKER", "args": ["run", "-i", "ghcr.io/us/ollama-mcp"]}`, failure, "where 127.0.0.1:11434 is the container itself"},
		{"a container that is told", `{"command": "DOCKER", "args": ["run", "-i", "-e", "OLLAMA_HOST=OTHER", "ghcr.io/us/ollama-mcp"]}`, failure, " is the container itself"},
		{"a container on this network", `{"command": "DOCKER", "args": ["run", "-i", "--network=host", "-e", "OLLAMA_HOST=ADDRESS", "ghcr.io/us/ollama-mcp"]}`, ok, "ok    Cursor: starts DOCKER with Ollama at "},
		{"a package", `{"command": "NPX", "args": ["-y", "@us/ollama-mcp", "--slots=x"]}`, failure, "does not start as this host starts it: --slots"},
		{"switched off", `{"command": "PROGRAM", "disabled": true}`, ok, "warn  Cursor: the server is switched off"},
	} {
		home := t.TempDir()
		file := filepath.Join(home, "config.yaml")
		write(t, file, "providers:\n  cloud: {kind: openai, url: \"https://127.0.0.1:1/v1\", key_env: CLOUD_KEY}\n")
		fill := strings.NewReplacer("PROGRAM", program, "ADDRESS", address, "OTHER", strings.Replace(address, "127.0.0.1", "localhost", 1), "FILE", file,
			"DOCKER", filepath.Join(home, "docker"), "NPX", filepath.Join(home, "npx"))
		write(t, filepath.Join(home, "docker"), "")
		write(t, filepath.Join(home, "npx"), "")
		if err := os.Mkdir(filepath.Join(home, ".cursor"), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(home, ".cursor", "mcp.json"), fill.Replace(`{"mcpServers": {"ollama": `+c.entry+`}}`))
		out, errs, status := atHome(t, program, home, []string{"OLLAMA_HOST=" + address, "CLOUD_KEY=x"}, "doctor")
		if status != c.status || !strings.Contains(out, fill.Replace(c.want)) {
			t.Errorf("%s: status %d, want %d and %q\n%s%s", c.name, status, c.status, c.want, out, errs)
		}
	}
}

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
