package e2e_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"gopkg.in/yaml.v3"

	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/tinymodels"
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
			eventually(t, "Ollama has stopped", func() bool { return ended(shared, "/api/generate") > before })
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
	large := strings.Replace(hello[0], `"e2e"`, `"`+strings.Repeat("e", 12<<20)+`"`, 1) // as with images
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
		"more than the server ever takes": {stackHost, "", key, large + large, 413, "larger than 20 MiB"},
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

func TestProgramsWithAKeyUseTheGatewayThroughNginx(t *testing.T) {
	t.Parallel()
	upstream, key := startStackServer(t)
	plain := startNginx(t, upstream)
	client := *plain
	client.Transport = withKey{key, plain.Transport}
	for _, row := range []struct{ path, body, words string }{
		{"/api/tags", "", `"tiny-says:latest"`},
		{"/v1/models", "", `"tiny-says:latest"`},
		{"/api/chat", `{"model":"tiny-says","messages":[{"role":"user","content":"hello"}]}`, `"done":true`},
		{"/api/generate", `{"model":"tiny-says","prompt":"hello"}`, `"done":true`},
		{"/v1/chat/completions", `{"model":"tiny-says","messages":[{"role":"user","content":"hello"}],"stream":true}`, "data: [DONE]"},
		{"/v1/embeddings", `{"model":"tiny-words","input":"bread"}`, `"embedding"`},
	} {
		method := "GET"
		if row.body != "" {
			method = "POST"
		}
		if status, body := fetch(t, &client, request(t, method, "https://"+stackHost+row.path, row.body)); status != 200 || !strings.Contains(body, row.words) {
			t.Errorf("%s: got %d %.300s", row.path, status, body)
		}
		if status, body := fetch(t, plain, request(t, method, "https://"+stackHost+row.path, row.body)); status != 401 {
			t.Errorf("%s without a key: got %d %.300s", row.path, status, body)
		}
	}
}

// TestModelsOfTheStackArePreloaded runs the script with a real Ollama that has other models.
func TestModelsOfTheStackArePreloaded(t *testing.T) {
	t.Parallel()
	ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Says, tinymodels.Words}})
	binary, err := ollamatest.Binary(deadline(t), ollamatest.Usual)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(t.TempDir(), "models.txt")
	preload := func(models string) (stderr string, status int) {
		t.Helper()
		if err := os.WriteFile(list, []byte(models), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(deadline(t), "sh", filepath.Join(stackDir(t), "preload", "preload.sh"), list)
		cmd.Env = []string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "OLLAMA_HOST=" + ollama.URL()}
		_, stderr, status = output(t, cmd)
		return stderr, status
	}
	// The first cannot be pulled, since nothing listens there.
	if stderr, status := preload("127.0.0.1:1/library/absent\ntiny-says\n"); status != 1 {
		t.Errorf("with a model that cannot be had: status %d: %s", status, stderr)
	}
	if got := loaded(t, ollama); !slices.Equal(got, []string{"tiny-says:latest"}) {
		t.Errorf("with a model that cannot be had: loaded are %q", got)
	}
	if stderr, status := preload("# of ours\n\ntiny-says # small\ntiny-words\n"); status != 0 {
		t.Errorf("status %d: %s", status, stderr)
	}
	if got := loaded(t, ollama); !slices.Equal(got, []string{"tiny-says:latest", "tiny-words:latest"}) {
		t.Errorf("loaded are %q", got)
	}
}

// loaded are the names of the models that an Ollama has in memory, sorted.
func loaded(t *testing.T, ollama *ollamatest.Server) (names []string) {
	t.Helper()
	running, err := ollama.Client().ListRunning(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range running.Models {
		names = append(names, model.Name)
	}
	slices.Sort(names)
	return names
}

// TestComposeFileIsValid has the library of Docker Compose read the file, which checks it against
// the schema, and looks at what a reader of it relies on.
func TestComposeFileIsValid(t *testing.T) {
	t.Parallel()
	project, err := loader.LoadWithContext(deadline(t), types.ConfigDetails{
		WorkingDir:  stackDir(t),
		ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml", Content: []byte(stackFile(t, "compose.yaml"))}},
	}, func(o *loader.Options) { o.SetProjectName("stack", true) })
	if err != nil {
		t.Fatal(err)
	}
	for name, service := range project.Services {
		if (len(service.Ports) > 0) != (name == "nginx") {
			t.Errorf("%s has ports %v", name, service.Ports)
		}
		if service.Deploy == nil || service.Deploy.Resources.Limits == nil || service.Deploy.Resources.Limits.MemoryBytes == 0 || service.Deploy.Resources.Limits.Pids == 0 {
			t.Errorf("%s has no limits of memory and processes", name)
		}
		for other := range service.DependsOn {
			if _, err := project.GetService(other); err != nil {
				t.Error(err)
			}
		}
	}
	networks := func(service string) []string { return slices.Sorted(maps.Keys(project.Services[service].Networks)) }
	for service, want := range map[string][]string{"ollama": {"models"}, "preload": {"models"}, "ollama-mcp": {"front", "models"}, "nginx": {"front"}} {
		if got := networks(service); !slices.Equal(got, want) {
			t.Errorf("%s is in the networks %q, want %q", service, got, want)
		}
	}
}

// Settings that are in two of the files must be equal.
func TestFilesOfTheStackAgree(t *testing.T) {
	nginx := stackFile(t, "nginx.conf")
	var compose struct {
		Services map[string]struct {
			Image          string
			Ports, Volumes []string
			Entrypoint     []string
			Environment    map[string]string
		}
		Networks map[string]struct {
			IPAM struct{ Config []struct{ Subnet string } }
		}
	}
	var config struct {
		Listen     []string
		Timeout    time.Duration
		MaxMessage int      `yaml:"max-message"`
		TrustProxy []string `yaml:"trust-proxy"`
		Hosts      []struct {
			URL   string
			Slots int
		}
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
	preload := compose.Services["preload"]
	if info, err := os.Stat(stackDir(t) + preload.Entrypoint[0]); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("%s: %v, and can be executed: %v", preload.Entrypoint[0], err, err == nil)
	}
	models := 0
	for line := range strings.Lines(stackFile(t, "preload/models.txt")) {
		if !strings.HasPrefix(line, "#") {
			models++
		}
	}
	if len(config.Hosts) != 1 || len(config.TrustProxy) != 1 || len(compose.Networks["front"].IPAM.Config) != 1 {
		t.Fatalf("got %+v and %+v, want one of each", config, compose.Networks)
	}
	ollama := compose.Services["ollama"]
	for what, pair := range map[string][2]string{
		"the ports of nginx":         {"80:" + find(t, nginx, `listen (\d+) default_server`) + " 443:" + find(t, nginx, `listen (\d+) ssl`), strings.Join(compose.Services["nginx"].Ports, " ")},
		"the port of ollama-mcp":     {"0.0.0.0:" + find(t, nginx, `server ollama-mcp:(\d+)`), strings.Join(config.Listen, " ")},
		"the largest message":        {find(t, nginx, `client_max_body_size (\d+)m`), strconv.Itoa(config.MaxMessage)},
		"the largest message, said":  {find(t, nginx, `larger than (\d+) MiB`), strconv.Itoa(config.MaxMessage)},
		"the network of nginx":       {compose.Networks["front"].IPAM.Config[0].Subnet, config.TrustProxy[0]},
		"the slots":                  {ollama.Environment["OLLAMA_NUM_PARALLEL"], strconv.Itoa(config.Hosts[0].Slots)},
		"the models to keep loaded":  {ollama.Environment["OLLAMA_MAX_LOADED_MODELS"], strconv.Itoa(models)},
		"the version of Ollama":      {ollama.Image, preload.Image},
		"the host of the preloading": {"http://" + preload.Environment["OLLAMA_HOST"], config.Hosts[0].URL},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: one file means %q, and another %q", what, pair[0], pair[1])
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
	if ollama.Environment["OLLAMA_KEEP_ALIVE"] == "" {
		t.Error("OLLAMA_KEEP_ALIVE is not set")
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
