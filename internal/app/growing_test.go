package app

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
)

// TestConfigurationsOfThePageOnGrowingServe runs each of them, with files and hosts of the test in
// the place of those that the page names.
func TestConfigurationsOfThePageOnGrowingServe(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/growing.md")
	if err != nil {
		t.Fatal(err)
	}
	var configs []string
	for i, part := range strings.Split(string(page), "```") {
		if text, ok := strings.CutPrefix(part, "yaml\n"); ok && i%2 == 1 {
			configs = append(configs, text)
		}
	}
	if len(configs) != 5 {
		t.Fatalf("the page has %d configurations, want 5", len(configs))
	}
	const key = "a-key"
	for i, config := range configs {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			hosts := []*backendtest.Host{backendtest.New("gpu-1"), backendtest.New("gpu-2")}
			cloud := backendtest.New("cloud").Answer("from the cloud").Install(backendtest.Model{Name: "gpt-4o-mini"})
			for _, host := range hosts {
				host.Answer("from a host").Install(backendtest.Model{Name: "qwen3:8b"})
			}
			dir := t.TempDir()
			cert, keyFile := certificate(t, time.Now().Add(time.Hour), "localhost")
			replaced := strings.NewReplacer(
				"http://gpu-1.lan:11434", hosts[0].Listen(t), "http://gpu-2.lan:11434", hosts[1].Listen(t), "https://api.openai.com", cloud.Listen(t),
				"keys.yaml", filepath.Join(dir, "keys.yaml"), "cert.pem", cert, "key.pem", keyFile, "openai.key", filepath.Join(dir, "openai.key"),
				"calls.jsonl", filepath.Join(dir, "calls.jsonl"), "127.0.0.1:9090", "127.0.0.1:0",
				"redis.lan:6379", "127.0.0.1:1", "seal.key", filepath.Join(dir, "seal.key"),
			).Replace(config)
			for name, text := range map[string]string{
				"config.yaml": replaced, "openai.key": "secret", "seal.key": strings.Repeat("secret ", 5), "keys.yaml": fmt.Sprintf("- {name: ann, sha256: %x}\n- {name: here, sha256: %x, local_only: true}\n", sha256.Sum256([]byte(key)), sha256.Sum256([]byte("here"))),
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := []string{"--config=" + filepath.Join(dir, "config.yaml")}
			if !strings.Contains(config, "hosts:") {
				args = append(args, "--host="+hosts[0].Listen(t))
			}
			s := serveAt(t, args...)
			if strings.Contains(config, "metrics-address") { // whose line comes first
				s.address = s.logs(`msg=listening .*address=(\S+)`)
			}
			if strings.Contains(config, "tls-cert") {
				s.scheme = "https"
				s.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // it is made for this test
			}
			ask := func(key, model string) (int, string) {
				return s.postJSON("POST", "/v1/chat/completions", key, `{"model":"`+model+`","messages":[{"role":"user","content":"hello"}]}`)
			}
			hasKeys := strings.Contains(config, "token-file")
			if status, text := ask(key, "qwen3:8b"); status != 200 || !strings.Contains(text, "from a host") {
				t.Errorf("got %d %s", status, text)
			}
			if status, text := ask("", "qwen3:8b"); (status == 401) != hasKeys {
				t.Errorf("without a key: got %d %s", status, text)
			}
			if strings.Contains(config, "chat-pro") {
				for _, host := range hosts {
					host.Down()
				}
				if status, text := ask(key, "chat-pro"); status != 200 || !strings.Contains(text, "from the cloud") {
					t.Errorf("with no host left: got %d %s", status, text)
				}
				if status, text := ask("here", "chat-pro"); status == 200 {
					t.Errorf("a key that may not leave got %s", text)
				}
			}
		})
	}
}
