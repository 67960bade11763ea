package e2e_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"gopkg.in/yaml.v3"
)

func TestClientsWithAKeyUseTheServerThroughNginx(t *testing.T) {
	upstream, key := startStackServer(t)
	client := *startNginx(t, upstream)
	client.Transport = withKey{key, client.Transport}
	for name, to := range map[string]struct {
		protocol  string
		transport mcp.Transport
	}{
		"streamable HTTP":           {modern, &mcp.StreamableClientTransport{Endpoint: "https://" + stackHost + "/mcp", HTTPClient: &client}},
		"streamable HTTP as legacy": {legacy, &mcp.StreamableClientTransport{Endpoint: "https://" + stackHost + "/mcp", HTTPClient: &client}},
		"SSE":                       {legacy, &mcp.SSEClientTransport{Endpoint: "https://" + stackHost + "/sse", HTTPClient: &client}},
	} {
		t.Run(name, func(t *testing.T) {
			s := join(t, deadline(t), to.transport, to.protocol)
			want := slices.DeleteFunc(slices.Clone(toolNames), func(tool string) bool { return tool == "clear-cache" }) // for administrators
			if got := s.tools(); !slices.Equal(got, want) {
				t.Errorf("the tools are %q, want %q", got, want)
			}
			s.stillAnswers(t)

			// It would never end by itself, so its progress comes while it goes on.
			p := s.start("generate", `{"model":"tiny-loops","prompt":"hi"}`)
			p.until(" tokens, ")
			before := ended(shared, "/api/generate")
			p.cancel()
			if <-p.done; !errors.Is(p.err, context.Canceled) {
				t.Errorf("got %+v, %v, want that it was cancelled", p.answer, p.err)
			}
			eventually(t, "Ollama has stopped", func() bool { return ended(shared, "/api/generate") == before+1 })
		})
	}
}

func TestNginxLeavesItToTheServerWhoMayCall(t *testing.T) {
	t.Parallel()
	upstream, key := startStackServer(t)
	client := startNginx(t, upstream)
	// As the health check in compose.yaml does.
	if status, body := fetch(t, client, request(t, "GET", "https://localhost:8443/readyz", "")); status != http.StatusOK {
		t.Errorf("/readyz: got %d %s", status, body)
	}
	large := strings.Replace(hello[0], `"e2e"`, `"`+strings.Repeat("e", 20<<20)+`"`, 1) // as with images
	for name, tt := range map[string]struct {
		host, origin, key, body string
		status                  int
		words                   string // in the body
	}{
		"a key":                           {stackHost, "", key, hello[0], 200, `"protocolVersion"`},
		"a key and much to say":           {stackHost, "", key, large, 200, `"protocolVersion"`},
		"the server's own origin":         {stackHost, "https://" + stackHost, key, hello[0], 200, `"protocolVersion"`},
		"another origin":                  {stackHost, "https://other.example", key, hello[0], 403, "--allowed-origin"},
		"another host":                    {"other.example", "", key, hello[0], 403, "--allowed-host"},
		"no key":                          {stackHost, "", "", hello[0], 401, "credentials are needed"},
		"another key":                     {stackHost, "", "omcp_other", hello[0], 401, "not known"},
		"no key and much to say":          {stackHost, "", "", large, 401, "credentials are needed"},
		"more than the server ever takes": {stackHost, "", key, large + large, 413, "nginx"},
	} {
		t.Run(name, func(t *testing.T) {
			req := request(t, "POST", "https://"+tt.host+"/mcp", tt.body)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/json, text/event-stream")
			if tt.origin != "" {
				req.Header.Set("Origin", tt.origin)
			}
			if tt.key != "" {
				req.Header.Set("Authorization", "Bearer "+tt.key)
			}
			status, body := fetch(t, client, req)
			if status != tt.status || !strings.Contains(body, tt.words) {
				t.Errorf("got %d %.300s, want %d with %q", status, body, tt.status, tt.words)
			}
		})
	}
}

// Settings that are in two of the files must be equal.
func TestFilesOfTheStackAgree(t *testing.T) {
	nginx := stackFile(t, "nginx.conf")
	var compose struct {
		Services map[string]struct{ Ports, Volumes []string }
	}
	var config struct {
		Listen     []string
		Timeout    time.Duration
		MaxMessage int `yaml:"max-message"`
		Hosts      []struct{ URL string }
	}
	for name, into := range map[string]any{"compose.yaml": &compose, "ollama-mcp/config.yaml": &config} {
		if err := yaml.Unmarshal([]byte(stackFile(t, name)), into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}

	for name, service := range compose.Services {
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if source == "./tls" || !strings.HasPrefix(source, "./") { // made by the user, or by Docker
				continue
			}
			if _, err := os.Stat(filepath.Join(stackDir(t), source)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for what, pair := range map[string][2]string{
		"the port of nginx":      {"443:" + find(t, nginx, `listen (\d+) ssl`), strings.Join(compose.Services["nginx"].Ports, " ")},
		"the port of ollama-mcp": {"0.0.0.0:" + find(t, nginx, `server ollama-mcp:(\d+)`), strings.Join(config.Listen, " ")},
		"the largest message":    {find(t, nginx, `client_max_body_size (\d+)m`), strconv.Itoa(config.MaxMessage)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: nginx.conf means %q, and another file says %q", what, pair[0], pair[1])
		}
	}
	for _, host := range config.Hosts {
		at, err := url.Parse(host.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := compose.Services[at.Hostname()]; !ok {
			t.Errorf("compose.yaml has no service %s", at.Hostname())
		}
	}
	silence, err := time.ParseDuration(find(t, nginx, `proxy_read_timeout (\w+);`))
	if err != nil {
		t.Fatal(err)
	}
	if silence <= config.Timeout || config.Timeout <= time.Minute {
		t.Errorf("nginx waits %v for an answer that may take %v, want more, and more than the minute it waits by itself", silence, config.Timeout)
	}
}

// find returns what the pattern's group matches in the text.
func find(t *testing.T, text, pattern string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("there is no %s", pattern)
	}
	return found[1]
}

// startStackServer starts the program as the example configures it, but for where it
// listens and where Ollama is. A new key is added to the file as the README says.
func startStackServer(t *testing.T) (address, key string) {
	t.Helper()
	dir := t.TempDir()
	key, line, status := shell(t, nobody, "token", "new", "e2e")
	if status != 0 {
		t.Fatalf("token new: status %d, %s", status, line)
	}
	line = line[strings.Index(line, "- {"):]
	for name, text := range map[string]string{
		"config.yaml": stackFile(t, "ollama-mcp/config.yaml"),
		"keys.yaml":   stackFile(t, "ollama-mcp/keys.yaml") + line,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := serve(t, command(deadline(t), shared.URL(), "--config", filepath.Join(dir, "config.yaml"),
		"--listen", "127.0.0.1:0", "--host", shared.URL()))
	return server.addr, strings.TrimSpace(key)
}

func stackDir(t *testing.T) string {
	t.Helper()
	return path(t, "..", "..", "examples", "production-stack")
}

func stackFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(stackDir(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// withKey adds a key to each request.
type withKey struct {
	key string
	by  http.RoundTripper
}

func (w withKey) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+w.key)
	return w.by.RoundTrip(req)
}
