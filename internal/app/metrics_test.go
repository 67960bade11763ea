package app

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
)

func TestMetricsAreServedBesideHTTP(t *testing.T) {
	host := backendtest.New("gpu-1").Answer("quick brown fox")
	s := serveAt(t, "--host="+host.Listen(t))
	resp, err := s.client.Get("http://" + s.address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(page), "\nollama_mcp_build_info{") {
		t.Errorf("status %d, %v: %.500s", resp.StatusCode, err, page)
	}
}

// Beside stdio the metrics have an address of their own.
func TestMetricsAreServedBesideStdio(t *testing.T) {
	socket := t.TempDir() + "/metrics.sock"
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--metrics-address=unix:"+socket)
	cmd.Env = []string{"BE_OLLAMA_MCP=1", "HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0"}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 4096)
	if n, _ := stderr.Read(said); !strings.Contains(string(said[:n]), "serving metrics") {
		t.Fatalf("it logs %q", said[:n])
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	resp, err := client.Get("http://localhost/metrics")
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if !strings.Contains(string(page), "\nollama_mcp_queue_depth{") {
		t.Errorf("got %d %.500s", resp.StatusCode, page)
	}
	stdin.Close()
	_, _ = io.Copy(io.Discard, stderr)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// An MCP host starts a server for each of its windows, all with the same options.
func TestMetricsAddressThatIsInUseKeepsNobodyFromTheTools(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := "--metrics-address=" + taken.Addr().String()
	const list = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	if out, errs, status := program(t, list, nil, address); status != 0 || !strings.Contains(out, `"id":1`) {
		t.Errorf("on stdio: status %d, %q, %q", status, out, errs)
	}
	if _, errs, status := program(t, "", nil, "--listen=127.0.0.1:0", address); status != failure || !strings.Contains(errs, "metrics-address") {
		t.Errorf("over HTTP: status %d, %q", status, errs)
	}
}

func TestDashboardIsServedBesideHTTPUnlessItIsOff(t *testing.T) {
	host := "--host=" + backendtest.New("gpu-1").Listen(t)
	for _, tc := range []struct {
		args []string
		want int
	}{{[]string{host}, 200}, {[]string{host, "--dashboard=off"}, 404}} {
		s := serveAt(t, tc.args...)
		for _, path := range []string{"/", "/dashboard/page.js", "/dashboard/session"} {
			resp, err := s.client.Get("http://" + s.address + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != tc.want {
				t.Errorf("%v: %s: status %d, want %d", tc.args, path, resp.StatusCode, tc.want)
			}
		}
	}
}

// An MCP host starts a server for each of its windows, all with the same options.
func TestDashboardBesideStdioTakesTheNextFreePortAndStatusSaysWhich(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	const status = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"status","arguments":{}}}`
	out, errs, code := program(t, status, []string{"OLLAMA_HOST=127.0.0.1:9"}, "--dashboard="+taken.Addr().String())
	if code != 0 || !strings.Contains(out, `"dashboard":"http://127.0.0.1:`) || strings.Contains(out, taken.Addr().String()+"/") {
		t.Errorf("status %d, %q, %q", code, out, errs)
	}
	if out, errs, code := program(t, status, []string{"OLLAMA_HOST=127.0.0.1:9"}); code != 0 || strings.Contains(out, `"dashboard"`) {
		t.Errorf("without the option: status %d, %q, %q", code, out, errs)
	}
	if _, errs, code := program(t, "", nil, "--dashboard=0.0.0.0:0"); code != failure || !strings.Contains(errs, "dashboard: ") || !strings.Contains(errs, "other machines could connect") {
		t.Errorf("an open address: status %d, %q", code, errs)
	}
}
