package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"ollama-mcp/internal/e2e/tinymodels"
)

// One client opens as many connections as it can to a server that may have few files open. The
// others connect, and their calls reach Ollama, each over a new connection.
func TestFewFilesAreLeftForAllWhoConnect(t *testing.T) {
	t.Parallel()
	const files = 64
	limited := command(deadline(t), shared.URL(), "--listen=127.0.0.1:0", "--cache=off")
	limited.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, files)}, limited.Args...)
	var err error
	if limited.Path, err = exec.LookPath("sh"); err != nil {
		t.Fatal(err)
	}
	l := serve(t, limited)
	if log := l.stderr.String(); !strings.Contains(log, "few files may be open") || !strings.Contains(log, "connections=48") {
		t.Errorf("the log does not say that there are few files:\n%s", log)
	}
	before := openFiles(t, l.cmd.Process.Pid)

	hostile := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	var opened []net.Conn
	for range 3 * files {
		conn, err := hostile.DialContext(t.Context(), "tcp", l.addr)
		if err != nil {
			t.Fatal(err)
		}
		opened = append(opened, conn)
	}
	honest := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range 10 {
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"generate","arguments":{"model":"tiny-says","prompt":%q}}}`, i, fresh())
		resp, err := honest.Post(l.url()+"/mcp", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.Contains(string(got), tinymodels.Says.Answer) {
			t.Errorf("call %d got %d, %v, %s", i, resp.StatusCode, err, got)
		}
	}
	if log := l.stderr.String(); !strings.Contains(log, "connections are refused") {
		t.Errorf("the log does not say that connections are refused:\n%s", log)
	}
	for _, conn := range opened {
		conn.Close()
	}
	const kept = 8 // connections to Ollama
	eventually(t, "the files are closed", func() bool { return openFiles(t, l.cmd.Process.Pid) <= before+kept })
}
