package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/config"
	"ollama-mcp/internal/jobs"
)

// reloaded is a server whose files change, without any traffic.
type reloaded struct {
	*service
	t   *testing.T
	dir string
	log *bytes.Buffer
}

// withFiles builds a server from a configuration file and a file of keys.
func withFiles(t *testing.T, configYAML, keysYAML string, args ...string) *reloaded {
	t.Helper()
	r := &reloaded{t: t, dir: t.TempDir(), log: new(bytes.Buffer)}
	r.write("config.yaml", configYAML)
	r.write("keys.yaml", keysYAML)
	args = append([]string{"--config=" + r.file("config.yaml"), "--listen=127.0.0.1:0"}, args...)
	var c config.Config
	if err := config.Parse(config.Flags(&c), &c, args, func(string) string { return "" }); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.service, err = newService(c, args, os.Stderr); err != nil {
		t.Fatal(err)
	}
	r.service.log = slog.New(slog.NewTextHandler(r.log, nil))
	t.Cleanup(func() {
		r.engine.Close()
		r.hosts.fleet.Close()
	})
	return r
}

func (r *reloaded) file(name string) string { return filepath.Join(r.dir, name) }

func (r *reloaded) write(name, text string) {
	r.t.Helper()
	write(r.t, r.file(name), text)
}

// reread is the configuration that is in the files now.
func (r *reloaded) reread() (c config.Config) {
	r.t.Helper()
	if err := config.Parse(config.Flags(&c), &c, r.args, func(string) string { return "" }); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// admits reports whether a caller with a key is let in.
func (r *reloaded) admits(key string) bool {
	req := httptest.NewRequest(http.MethodPost, "/mcp", nil)
	req.Header.Set("Authorization", "Bearer "+key)
	_, err := r.callers.Authenticate(req)
	return err == nil
}

// keyList is the YAML of keys that are also their own names.
func keyList(keys ...string) string {
	text := "\n"
	for _, key := range keys {
		text += fmt.Sprintf("- {name: %s, sha256: %x}\n", key, sha256.Sum256([]byte(key)))
	}
	return text
}

// A key that is taken out of its file opens nothing any more, whatever else goes wrong.
func TestRevokedKeyOpensNothingWhateverElseIsWrong(t *testing.T) {
	const named = "token-file: keys.yaml\n"
	tests := map[string]struct {
		before, after string // of config.yaml
		gone          bool   // config.yaml is, afterwards
	}{
		"nothing is wrong":                        {named, named, false},
		"a host cannot be opened":                 {named, named + "hosts: [{url: 'https://gpu-1', ca_file: gone.pem}]", false},
		"a provider's variable is missing":        {named, named + "providers: {p: {kind: openai, url: 'https://x', key_env: NOWHERE}}", false},
		"an option has a bad value":               {named, "slots: -1\n" + named, false},
		"a key of the file is unknown":            {named, "solts: 1\n" + named, false},
		"an alias leads to itself":                {named, named + "models: {a: {try: [b]}, b: {try: [a]}}", false},
		"the file is no YAML":                     {named, "hosts: [", false},
		"the file is gone":                        {named, "", true},
		"the file names no file of keys any more": {named, "slots: 1\n", false},
		"the keys of the file itself are wrong":   {named + "keys:" + keyList("own"), named + "keys: [{name: own}]", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := withFiles(t, tt.before, keyList("ci", "other"))
			if !r.admits("ci") || !r.admits("other") || r.admits("none") {
				t.Fatal("not the keys of the file are in force")
			}
			r.write("config.yaml", tt.after)
			if tt.gone {
				if err := os.Remove(r.file("config.yaml")); err != nil {
					t.Fatal(err)
				}
			}
			r.write("keys.yaml", keyList("other"))
			r.reload()
			if r.admits("ci") {
				t.Errorf("the revoked key is still good; the log:\n%s", r.log)
			}
			if named := strings.Contains(tt.after, "token-file") || tt.gone || tt.after == "hosts: ["; named && !r.admits("other") {
				t.Errorf("the other key is not good any more; the log:\n%s", r.log)
			}
			if strings.Contains(tt.before, "own") && !r.admits("own") {
				t.Error("a key that could not be read was revoked")
			}
		})
	}
}

// What a key has begun ends with it: also if another key has its name from now on.
func TestWorkOfARevokedKeyEndsWhateverElseIsWrong(t *testing.T) {
	named := func(name, key string) string {
		return fmt.Sprintf("- {name: %s, sha256: %x}\n", name, sha256.Sum256([]byte(key)))
	}
	r := withFiles(t, "token-file: keys.yaml\n", named("ann", "a1")+named("bob", "b1"))
	t.Cleanup(r.jobs.Close)
	// open opens a stream and keeps a job, and returns what tells that they have ended.
	open := func(key string) (stream <-chan struct{}, job *jobs.Job) {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/sse", nil)
		req.Host = "localhost"
		req.Header.Set("Authorization", "Bearer "+key)
		who, err := r.callers.Authenticate(req)
		if err != nil {
			t.Fatal(err)
		}
		began, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			r.http.ServeHTTP(&firstWrite{ResponseRecorder: httptest.NewRecorder(), began: began}, req)
		}()
		<-began
		job = r.jobs.Start(caller.NewContext(t.Context(), who), jobs.Spec{}, func(ctx context.Context) func() jobs.Outcome {
			<-ctx.Done()
			return func() jobs.Outcome { return jobs.Outcome{Failed: true} }
		})
		if err := job.Keep(jobs.Owner{Account: who.ID}); err != nil {
			t.Fatal(err)
		}
		return ended, job
	}
	hers, her := open("a1")
	his, him := open("b1")
	r.write("config.yaml", "slots: -1\ntoken-file: keys.yaml\n")
	r.write("keys.yaml", named("ann", "a2")+named("bob", "b1"))
	r.reload()
	<-hers
	<-her.Ended()
	select {
	case <-his:
		t.Error("the stream of a key that is still good has ended")
	case <-him.Ended():
		t.Error("the job of a key that is still good has ended")
	default:
	}
	r.write("keys.yaml", "[]")
	r.reload()
	<-his
	<-him.Ended()
}

// firstWrite is a response that tells when its first part is written.
type firstWrite struct {
	*httptest.ResponseRecorder
	once  sync.Once
	began chan struct{}
}

func (w *firstWrite) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.began) })
	return len(p), nil
}

func TestKeyRevokedInTheConfigurationFileOpensNothingWhateverElseIsWrong(t *testing.T) {
	for name, tt := range map[string]struct{ rest, keys string }{
		"an option has a bad value":       {"slots: -1\nkeys:" + keyList("other"), ""},
		"a key is unknown":                {"solts: 1\nkeys:" + keyList("other"), ""},
		"another section is wrong":        {"hosts: [{}]\nkeys:" + keyList("other"), ""},
		"the file of keys is wrong":       {"keys:" + keyList("other"), "- {"},
		"the file of keys has a bad item": {"keys:" + keyList("other"), "- {name: x}"},
		"all keys are commented out":      {"keys:\n#" + keyList()[1:], ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := withFiles(t, "keys:"+keyList("ci", "other"), keyList("more"))
			args := append([]string{"--token-file=" + r.file("keys.yaml")}, r.args...)
			r.args = args
			r.reload()
			if !r.admits("ci") || !r.admits("other") || !r.admits("more") {
				t.Fatal("not the keys of both files are in force")
			}
			r.write("config.yaml", tt.rest)
			if tt.keys != "" {
				r.write("keys.yaml", tt.keys)
			}
			r.reload()
			if r.admits("ci") || !r.admits("more") || r.admits("other") != strings.Contains(tt.rest, "other") {
				t.Errorf("ci: %v, more: %v, other: %v; the log:\n%s", r.admits("ci"), r.admits("more"), r.admits("other"), r.log)
			}
			if !strings.Contains(r.log.String(), "config refused") {
				t.Errorf("the log does not tell what is wrong:\n%s", r.log)
			}
		})
	}
}

func TestScopeThatIsNarrowedAllowsNoMoreWhateverElseIsWrong(t *testing.T) {
	const oauth = "oauth-issuer: https://login.example.com\noauth-audience: https://mcp.example.com/mcp\n"
	r := withFiles(t, oauth+"oauth-scopes: {a: {admin: true}}\n", "")
	r.write("config.yaml", oauth+"slots: -1\noauth-scopes: {b: {tools: [chat]}}\n")
	r.reload()
	if got := fmt.Sprint(r.callers.OAuth.Metadata("/.well-known/oauth-protected-resource", "x")); strings.Contains(got, "[a]") || !strings.Contains(got, "[b]") {
		t.Errorf("the scopes are still those of before: %s", got)
	}
}

// A key with the name of a subject would share jobs, embeddings and sessions with it.
func TestNoKeyHasTheNameOfASubject(t *testing.T) {
	const oauth = "oauth-issuer: https://login.example.com/realm/\noauth-audience: https://mcp.example.com/mcp\ntoken-file: keys.yaml\n"
	named := func(name, key string) string {
		return fmt.Sprintf("- {name: %q, sha256: %x}\n", name, sha256.Sum256([]byte(key)))
	}
	fine := named("alice", "1") + named("alice@login.example.com", "2") + named("alice@example.com", "3") + named("login.example.com/realm", "4")
	r := withFiles(t, oauth, fine)
	r.write("keys.yaml", fine+named("alice@login.example.com/realm", "5"))
	r.reload()
	const want = "has the name of a subject of oauth-issuer"
	if r.admits("5") || !r.admits("1") || !r.admits("2") || !r.admits("3") || !r.admits("4") || !strings.Contains(r.log.String(), want) {
		t.Errorf("it is admitted: %v, or another is not; the log:\n%s", r.admits("5"), r.log)
	}
	if _, err := newService(r.reread(), r.args, os.Stderr); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("at the start: %v", err)
	}
}

// Each part is applied on its own: what is wrong in one keeps no other from being applied.
func TestPartsOfAConfigurationAreAppliedEachOnItsOwn(t *testing.T) {
	r := withFiles(t, "hosts: [{name: a, url: 'http://127.0.0.1:1'}]\n", "")
	r.write("config.yaml", `
hosts: [{name: b, url: "https://127.0.0.1:2", ca_file: gone.pem}]
models: {m: {num_ctx: 4096}, alias: {try: [m]}}
output-filter: "mask:secret"
log-level: debug
`)
	r.reload()
	if hosts := r.hosts.Hosts(); len(hosts) != 1 || hosts[0].Name() != "a" {
		t.Errorf("the hosts are %v, want the old one", hosts)
	}
	s := r.settings.Load()
	if s.Filter == nil || s.Ladders == nil || s.Models["alias:latest"].Try == nil || r.level.Level() != slog.LevelDebug {
		t.Errorf("got %+v at level %v, want all that is right to be applied", s, r.level)
	}
	for _, line := range []string{`msg="part of the config not applied" part=hosts error=`, `msg="config reloaded" changed="[log-level output-filter models]"`} {
		if !strings.Contains(r.log.String(), line) {
			t.Errorf("the log has no line %s:\n%s", line, r.log)
		}
	}
	r.log.Reset()
	r.write("config.yaml", "hosts: [{name: b, url: 'http://127.0.0.1:2'}]\nqueue: 7\n")
	r.reload()
	for _, line := range []string{`changed="[log-level output-filter models hosts]"`, `msg="some changes of the config need a restart" options=[queue]`} {
		if !strings.Contains(r.log.String(), line) {
			t.Errorf("the log has no line %s:\n%s", line, r.log)
		}
	}
}

func TestServiceManagerIsToldWhatTheServerDoes(t *testing.T) {
	dir := t.TempDir()
	socket, file := dir+"/notify", dir+"/config.yaml"
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	expect := func(want string) {
		t.Helper()
		_ = manager.SetReadDeadline(time.Now().Add(5 * time.Minute)) // catches a test that hangs
		text := make([]byte, 1000)
		for {
			n, err := manager.Read(text)
			if err != nil {
				t.Fatalf("no %s: %v", want, err)
			}
			if got, _, _ := strings.Cut(string(text[:n]), "\n"); got != "WATCHDOG=1" || got == want {
				if got != want {
					t.Errorf("heard %q, want %s", got, want)
				}
				return
			}
		}
	}
	if err := os.WriteFile(file, []byte("log-level: warn\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--listen=127.0.0.1:0", "--host=127.0.0.1:9", "--config="+file)
	cmd.Env = []string{"BE_OLLAMA_MCP=1", "HOME=" + dir, "NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=60000000", "GORACE=atexit_sleep_ms=0"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expect("READY=1")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	expect("RELOADING=1")
	expect("READY=1")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	expect("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
