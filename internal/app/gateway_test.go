package app

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
)

// postJSON sends a request in JSON, and returns the status and the answer.
func (s *served) postJSON(method, path, key, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.scheme+"://"+s.address+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

const askTiny = `{"model":"tiny","messages":[{"role":"user","content":"hello"}],"stream":false}`

func TestOtherAPIsAreServedOnlyIfWanted(t *testing.T) {
	t.Parallel()
	host := backendtest.New("gpu-1").Answer("quick brown fox")
	url := host.Listen(t)
	s := serveAt(t, "--host="+url)
	for _, path := range []string{"/api/chat", "/v1/chat/completions"} {
		if status, text := s.postJSON("POST", path, "", askTiny); status != 404 {
			t.Errorf("%s: got %d %s", path, status, text)
		}
	}
	s = serveAt(t, "--host="+url, "--gateway")
	for _, path := range []string{"/api/chat", "/v1/chat/completions"} {
		if status, text := s.postJSON("POST", path, "", askTiny); status != 200 || !strings.Contains(text, "quick brown fox") {
			t.Errorf("%s: got %d %s", path, status, text)
		}
	}
	for _, path := range []string{"/api/push", "/api/blobs/sha256:0", "/api/experimental/web_search", "/v1/responses", "/v1/images/generations", "/debug/pprof/"} {
		if status, text := s.postJSON("POST", path, "", "{}"); status != 404 {
			t.Errorf("%s: got %d %s", path, status, text)
		}
	}
	if status, text := s.postJSON("POST", "/api/pull", "", `{"model":"x"}`); status != 403 || !strings.Contains(text, "--allow-manage") {
		t.Errorf("a model is pulled without permission: %d %s", status, text)
	}
	if _, errs, status := program(t, "", nil, "--gateway"); status == 0 || !strings.Contains(errs, "needs listen") {
		t.Errorf("on stdio: %d %s", status, errs)
	}
}

func TestKeysMeanTheSameForAllAPIs(t *testing.T) {
	t.Parallel()
	host := backendtest.New("gpu-1").Answer("quick brown fox").Install(backendtest.Model{Name: "other"})
	keys := filepath.Join(t.TempDir(), "keys.yaml")
	const ann, root, few = "ann-key", "root-key", "few-key"
	list := fmt.Sprintf(`
- {name: ann, sha256: %x, models: [tiny], tools: [chat, list-models]}
- {name: root, sha256: %x, admin: true}
- {name: few, sha256: %x, calls_per_day: 1}
`, sha256.Sum256([]byte(ann)), sha256.Sum256([]byte(root)), sha256.Sum256([]byte(few)))
	if err := os.WriteFile(keys, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serveAt(t, "--host="+host.Listen(t), "--gateway", "--allow-manage", "--token-file="+keys)
	for _, row := range []struct {
		name, method, path, key, body string
		status                        int
		want                          string
	}{
		{"no key", "POST", "/api/chat", "", askTiny, 401, `{"error":"`},
		{"no key, OpenAI", "POST", "/v1/chat/completions", "", askTiny, 401, `"type":"authentication_error"`},
		{"a wrong key", "GET", "/v1/models", "nobody", "", 401, `"type":"authentication_error"`},
		{"her model", "POST", "/api/chat", ann, askTiny, 200, "quick"},
		{"another model", "POST", "/api/chat", ann, strings.Replace(askTiny, "tiny", "other", 1), 403, "may not use"},
		{"another tool", "POST", "/api/generate", ann, `{"model":"tiny","prompt":"x"}`, 403, "may not call"},
		{"her models", "GET", "/api/tags", ann, "", 200, `"tiny:latest"`},
		{"no administrator", "POST", "/api/pull", few, `{"model":"x"}`, 403, "administrator"},
		{"an administrator", "POST", "/api/copy", root, `{"source":"tiny","destination":"again"}`, 200, ""},
		{"once a day", "POST", "/v1/chat/completions", few, askTiny, 200, "quick"},
	} {
		if status, text := s.postJSON(row.method, row.path, row.key, row.body); status != row.status || !strings.Contains(text, row.want) {
			t.Errorf("%s: got %d %s, want %d %s", row.name, status, text, row.status, row.want)
		}
	}
	// One of the next two calls is the second of its day, if the test runs over midnight too.
	status, text := s.postJSON("POST", "/v1/chat/completions", few, askTiny)
	if status == 200 {
		status, text = s.postJSON("POST", "/v1/chat/completions", few, askTiny)
	}
	if status != 429 || !strings.Contains(text, `"code":"rate_limited"`) {
		t.Errorf("twice a day: got %d %s, want 429", status, text)
	}
	if _, text := s.postJSON("GET", "/api/tags", ann, ""); strings.Contains(text, "other") {
		t.Errorf("ann sees %s", text)
	}
	if !host.Has("again") {
		t.Error("the model was not copied")
	}
}

func TestCallerWhoWouldSpendTheBudgetOfAProviderLeavesTheHonestOneItsCalls(t *testing.T) {
	t.Parallel()
	host := backendtest.New("gpu-1").Answer("quick brown fox")
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	const hostile, honest = "hostile-key", "honest-key"
	keys := write("keys.yaml", fmt.Sprintf("- {name: hostile, sha256: %x, calls_per_day: 5}\n- {name: honest, sha256: %x, calls_per_day: 5}\n",
		sha256.Sum256([]byte(hostile)), sha256.Sum256([]byte(honest))))
	url := host.Listen(t)
	config := write("config.yaml", "providers: {cloud: {kind: openai, url: '"+url+"/v1', local: true, max_calls_per_day: 9}}\n")
	s := serveOf(t, dir, "--host="+url, "--config="+config, "--gateway", "--token-file="+keys)
	ask := func(key string, n int) (int, string) {
		return s.postJSON("POST", "/api/chat", key, strings.Replace(strings.Replace(askTiny, "tiny", "cloud/tiny", 1), "hello", fmt.Sprint(key, n), 1))
	}
	statuses := make(map[int]int)
	for n := range 50 {
		status, _ := ask(hostile, n)
		statuses[status]++
	}
	// Five on a day, and on another if the test runs over midnight.
	if statuses[200] < 5 || statuses[200] > 10 || statuses[200]+statuses[429] != 50 {
		t.Errorf("the hostile caller got %v", statuses)
	}
	for n := range 4 { // which with those five are all that the provider takes on a day
		if status, text := ask(honest, n); status != 200 {
			t.Errorf("call %d of the honest caller: %d %s", n, status, text)
		}
	}
}
