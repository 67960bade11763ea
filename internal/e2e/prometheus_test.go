package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"gopkg.in/yaml.v3"

	"ollama-mcp/internal/e2e/procgroup"
)

// deployFile is the path of a file for operators.
func deployFile(t *testing.T, name string) string {
	t.Helper()
	return path(t, "..", "..", "deploy", name)
}

func TestRulesForPrometheusPassTheirTests(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"},
		{"test", "rules", "tests.yml"},
	} {
		cmd := exec.CommandContext(deadline(t), "promtool", args...)
		cmd.Dir = deployFile(t, "prometheus")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// prometheus is a running Prometheus.
type prometheus struct {
	t   *testing.T
	url string
}

// startPrometheus starts a Prometheus with the rules for operators, and with their configuration
// but for how often and where it looks.
func startPrometheus(t *testing.T, jobs map[string]string) *prometheus {
	t.Helper()
	text, err := os.ReadFile(deployFile(t, "prometheus/prometheus.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	var scrapes []any
	for job, target := range jobs {
		scrapes = append(scrapes, map[string]any{"job_name": job, "static_configs": []any{map[string]any{"targets": []string{target}}}})
	}
	for i, name := range config["rule_files"].([]any) {
		config["rule_files"].([]any)[i] = deployFile(t, "prometheus/"+name.(string))
	}
	config["scrape_configs"] = scrapes
	config["global"] = map[string]any{"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
	dir, address := t.TempDir(), freeAddress(t)
	adapted, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), adapted, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(deadline(t), "prometheus",
		"--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	var log buffer
	cmd.Stderr = &log
	group, err := procgroup.Start(cmd)
	if err != nil {
		t.Fatalf("%v; on Debian: apt-get install prometheus", err)
	}
	p := &prometheus{t, "http://" + address}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		group.Kill()
		if t.Failed() {
			t.Logf("the log of Prometheus:\n%s", log.tail())
		}
	})
	eventually(t, "Prometheus is ready", func() bool {
		resp, err := http.Get(p.url + "/-/ready")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
	return p
}

// get decodes what the API of Prometheus answers.
func (p *prometheus) get(path string, data any) {
	p.t.Helper()
	status, body := fetch(p.t, http.DefaultClient, request(p.t, "GET", p.url+path, ""))
	var answer struct{ Data json.RawMessage }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		p.t.Fatalf("%s: status %d, %v: %s", path, status, err, body)
	}
	if err := json.Unmarshal(answer.Data, data); err != nil {
		p.t.Fatal(err)
	}
}

// query returns the values of an expression that are numbers.
func (p *prometheus) query(expression string) (values []string) {
	p.t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	p.get("/api/v1/query?query="+url.QueryEscape(expression), &data)
	for _, r := range data.Result {
		if text := r.Value[1].(string); text != "NaN" {
			values = append(values, text)
		}
	}
	return values
}

// dashboardExpressions are those of all panels, by their titles, with what Grafana puts into them.
func dashboardExpressions(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(deployFile(t, "grafana/ollama-mcp.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	fill := strings.NewReplacer("$job", "ollama-mcp", "$instance", ".*", "$__rate_interval", "10s")
	for _, p := range dashboard.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %q shows nothing", p.Title)
		}
		for i, target := range p.Targets {
			all[fmt.Sprintf("%s/%d", p.Title, i)] = fill.Replace(target.Expr)
		}
	}
	return all
}

// flakyHost passes requests on to the shared Ollama, and refuses every third for an answer as an
// Ollama that is busy does.
func flakyHost(t *testing.T) (address string) {
	t.Helper()
	to, err := url.Parse(shared.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/api/generate" && asked.Add(1)%3 == 1 {
			http.Error(w, `{"error":"server busy, please try again.  maximum pending requests exceeded"}`, http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestPrometheusShowsWhatTheServerDoes scrapes a server of which all sorts of calls are made, and
// another beside stdio, and runs every expression of the dashboard and of the rules.
func TestPrometheusShowsWhatTheServerDoes(t *testing.T) {
	t.Parallel()
	key, line, status := shell(t, nobody, "token", "new", "ci")
	if status != 0 {
		t.Fatalf("token new: status %d, %s", status, line)
	}
	line = strings.Replace(strings.TrimSpace(line[strings.Index(line, "- {"):]), "}", ", calls_per_day: 100000}", 1)
	key = strings.TrimSpace(key)
	dir := t.TempDir()
	config := fmt.Sprintf(`
hosts: [{name: a, url: %q}]
providers: {cloud: {kind: openai, url: %q, local: true}}
models: {pro: {try: [none, tiny-says]}}
keys:
%s
`, flakyHost(t), shared.URL()+"/v1", line)
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(at string) *listening {
		return serve(t, command(deadline(t), shared.URL(), "--config", filepath.Join(dir, "config.yaml"), "--listen", at, "--gateway",
			"--state-dir", filepath.Join(dir, "state"), "--call-log", filepath.Join(dir, "calls.jsonl")))
	}
	server := start("127.0.0.1:0")
	beside := freeAddress(t)
	stdio := connect(t, shared, "OLLAMA_MCP_METRICS_ADDRESS="+beside)
	stdio.succeeds("generate", `{`+hi+`}`)
	p := startPrometheus(t, map[string]string{"ollama-mcp": server.addr, "stdio": beside})

	n := 0
	call := func(model, prompt string) {
		n++
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"generate","arguments":{"model":%q,"prompt":%q}}}`, n, model, prompt)
		req := request(t, "POST", server.url()+"/mcp", body)
		for name, value := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Authorization": "Bearer " + key} {
			req.Header.Set(name, value)
		}
		if status, body := fetch(t, http.DefaultClient, req); status != http.StatusOK {
			t.Fatalf("status %d: %s", status, body)
		}
	}
	missing := dashboardExpressions(t)
	for _, name := range recorded(t) {
		missing[name] = name
	}
	missing["beside stdio"] = `mcp_server_operation_duration_seconds_count{job="stdio",network_transport="pipe"}`
	missing["the gateway"] = `http_server_request_duration_seconds_count{job="ollama-mcp",http_route="/v1/completions",http_response_status_code="200"}`
	missing["all are up"] = `sum(up) == 2`
	t.Cleanup(func() {
		for title, expression := range missing {
			t.Errorf("%s has no data: %s", title, expression)
		}
	})
	eventually(t, fmt.Sprintf("every one of %d expressions has data", len(missing)), func() bool {
		for _, model := range []string{"tiny-says", "pro", "cloud/tiny-says", "nowhere"} {
			call(model, fmt.Sprint("prompt ", n))
		}
		call("tiny-says", "hi") // which is cached after the first time
		req := request(t, "POST", server.url()+"/v1/completions", `{"model":"tiny-says","prompt":"hi"}`)
		req.Header.Set("Authorization", "Bearer "+key)
		if status, body := fetch(t, http.DefaultClient, req); status != http.StatusOK {
			t.Fatalf("the gateway: status %d: %s", status, body)
		}
		n++
		maps.DeleteFunc(missing, func(_, expression string) bool { return len(p.query(expression)) > 0 })
		return len(missing) == 0
	})
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	p.get("/api/v1/rules", &rules)
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			if rule.Health != "ok" {
				t.Errorf("rule %s: %s, %s", rule.Name, rule.Health, rule.LastError)
			}
		}
	}

	// What the key has used outlasts the server.
	server.stop()
	used := n
	server = start(server.addr)
	_, page := fetch(t, http.DefaultClient, request(t, "GET", server.url()+"/metrics", ""))
	want := fmt.Sprintf("ollama_mcp_key_budget_used{caller=\"ci\",unit=\"calls\"} %d\n", used)
	if !strings.Contains(page, want) || strings.Contains(page, "mcp_server_operation_duration_seconds_count") {
		t.Errorf("after the restart there is no %s", want)
	}
}

// recorded are the names of the recording rules.
func recorded(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile(deployFile(t, "prometheus/recording.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []struct{ Record string } }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, rule := range file.Groups[0].Rules {
		names = append(names, rule.Record)
	}
	return names
}
