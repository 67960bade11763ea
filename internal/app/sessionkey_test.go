package app

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
)

// begin initializes a session of a protocol before 2026-07-28, and returns its id.
func (s *served) begin() string {
	s.t.Helper()
	status, header := s.legacy("", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	if status != http.StatusOK || header.Get("Mcp-Session-Id") == "" {
		s.t.Fatalf("initialize got %d, %v", status, header)
	}
	return header.Get("Mcp-Session-Id")
}

// knows reports whether the server takes a session.
func (s *served) knows(session string) bool {
	s.t.Helper()
	status, _ := s.legacy(session, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	if status != http.StatusOK && status != http.StatusNotFound {
		s.t.Errorf("the session got %d", status)
	}
	return status == http.StatusOK
}

func (s *served) legacy(session, body string) (status int, header http.Header) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "POST", s.scheme+"://"+s.address+"/mcp", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header
}

func TestSessionOutlivesTheServerAndIsKnownToItsReplicas(t *testing.T) {
	host := "--host=" + backendtest.New("gpu-1").Listen(t)
	home, key := t.TempDir(), filepath.Join(t.TempDir(), "key")
	write(t, key, strings.Repeat("k", 32)+"\n")
	for name, start := range map[string]func(*testing.T) *served{
		"the key that is kept":   func(t *testing.T) *served { return serveOf(t, home, host) },
		"the key that is given":  func(t *testing.T) *served { return serveAt(t, host, "--session-key-file="+key) },
		"no place to keep a key": func(t *testing.T) *served { return serveOf(t, "", host) },
	} {
		var session string
		t.Run(name, func(t *testing.T) {
			one, two := start(t), start(t)
			session = one.begin()
			if want := name != "no place to keep a key"; two.knows(session) != want || !one.knows(session) {
				t.Errorf("known to the other server: %v, want %v", !want, want)
			}
		})
		t.Run(name+", after a restart", func(t *testing.T) {
			if want := name != "no place to keep a key"; start(t).knows(session) != want {
				t.Errorf("known: %v, want %v", !want, want)
			}
		})
	}
	if other := serveAt(t, host); other.knows(serveOf(t, home, host).begin()) {
		t.Error("a server of another user takes it")
	}
}

func TestKeyForSessionsMustBeLongAndReadable(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short")
	write(t, short, " "+strings.Repeat("k", 31)+"\n")
	for file, want := range map[string]string{short: "has 31 bytes, and must have at least 32", short + "er": "no such file"} {
		_, errs, status := program(t, "", nil, "--listen=127.0.0.1:0", "--session-key-file="+file)
		if status == ok || !strings.Contains(errs, "session-key-file") || !strings.Contains(errs, want) {
			t.Errorf("status %d, %s, want %q", status, errs, want)
		}
	}
}

func TestServersThatStartTogetherKeepOneKey(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	keys := make([][]byte, 16)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = keptSessionKey(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, key := range keys {
		if len(key) < minKey || !bytes.Equal(key, keys[0]) {
			t.Errorf("got %q and %q", key, keys[0])
		}
	}
	dir, err := ownDir()
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	if info, err := files[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
}
