package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestNoCallIsLostWhileReplicasAreReplacedAsTheChartDoes has callers ask without a pause while each of
// two replicas behind nginx is replaced: the new one has to be ready first, nginx is told, and after the
// pause of preStop, in a tenth of its time, the old one is told to end.
func TestNoCallIsLostWhileReplicasAreReplacedAsTheChartDoes(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(path(t, "..", "..", "deploy", "helm", "ollama-mcp", "templates", "deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	chart := string(text)
	alive, ready := find(t, chart, `livenessProbe:\s+httpGet: {path: ([^,]+),`), find(t, chart, `readinessProbe:\s+httpGet: {path: ([^,]+),`)
	seconds, err := strconv.Atoi(find(t, chart, `preStop: {sleep: {seconds: (\d+)}}`))
	if err != nil {
		t.Fatal(err)
	}
	pause := time.Duration(seconds) * time.Second / 10

	const answerTakes = time.Second
	ollama := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]string{
			"/api/version": `{"version":"0.17.4"}`, "/api/tags": `{"models":[{"name":"m:latest","model":"m:latest"}]}`, "/api/ps": `{"models":[]}`,
			"/api/generate": `{"model":"m:latest","created_at":"2026-01-01T00:00:00Z","response":"yes","done":true,"done_reason":"stop","eval_count":1}`,
		}[r.URL.Path]
		if r.URL.Path == "/api/generate" {
			select {
			case <-time.After(answerTakes):
			case <-r.Context().Done():
				return
			}
		}
		_, _ = fmt.Fprintln(w, answer) // the client may have left
	}))
	t.Cleanup(ollama.Close)
	start := func() *listening {
		r := gatewayTo(t, ollama.URL, "--slots=64", "--drain-timeout=30s", "--dashboard=off")
		eventually(t, "a replica is ready", func() bool { return probe(t, r, ready) == http.StatusOK })
		return r
	}
	replicas := []*listening{start(), start()}
	balancer := startBalancer(t, replicas...)

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // or nginx may close a connection that is just being used
	var served atomic.Int64
	var callers sync.WaitGroup
	stop := make(chan struct{})
	for i := range 8 {
		callers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := client.Post(balancer.url+"/api/generate", "application/json", strings.NewReader(fmt.Sprintf(`{"model":"m","prompt":"%d of %d","stream":false}`, n, i)))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `"response":"yes"`) {
					t.Errorf("a call got status %d: %.200s, %v", resp.StatusCode, body, err)
					return
				}
				served.Add(1)
			}
		})
	}
	for i, old := range replicas {
		replicas[i] = start()
		balancer.balance(replicas...)
		for ends := time.Now().Add(pause); time.Now().Before(ends); time.Sleep(pause / 10) {
			if status := probe(t, old, alive); status != http.StatusOK {
				t.Errorf("%s of a replica that is about to end has status %d", alive, status)
			}
		}
		old.stop() // and waits for it, so that it has ended in good order
	}
	close(stop)
	callers.Wait()
	if n := served.Load(); n < 16 {
		t.Errorf("%d calls were served", n)
	}
}

// probe returns the status of a probe, as a kubelet sends it.
func probe(t *testing.T, r *listening, path string) int {
	t.Helper()
	req := request(t, "GET", r.url()+path, "")
	req.Host = "localhost"
	status, _ := fetch(t, http.DefaultClient, req)
	return status
}

// balancer is an nginx that sends requests to replicas in turn.
type balancer struct {
	t   *testing.T
	dir string
	url string
	cmd *exec.Cmd
}

func startBalancer(t *testing.T, replicas ...*listening) *balancer {
	t.Helper()
	address := freeAddress(t)
	b := &balancer{t: t, dir: t.TempDir(), url: "http://" + address}
	b.write(address, replicas)
	b.cmd = runNginx(t, b.dir, address, "")
	return b
}

// balance has nginx send new requests to other replicas.
func (b *balancer) balance(replicas ...*listening) {
	b.t.Helper()
	b.write(strings.TrimPrefix(b.url, "http://"), replicas)
	if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		b.t.Error(err)
	}
}

func (b *balancer) write(address string, replicas []*listening) {
	b.t.Helper()
	servers, user := "", ""
	for _, r := range replicas {
		servers += "server " + r.addr + "; "
	}
	if os.Getuid() == 0 {
		user = "user root;" // who owns the folder
	}
	write(b.t, filepath.Join(b.dir, "nginx.conf"), fmt.Sprintf(`%s
worker_processes 1;
pid %[2]s/nginx.pid;
events { worker_connections 256; }
http {
	access_log off;
	client_body_temp_path %[2]s/body; proxy_temp_path %[2]s/proxy; fastcgi_temp_path %[2]s/fastcgi; uwsgi_temp_path %[2]s/uwsgi; scgi_temp_path %[2]s/scgi;
	upstream replicas { %[3]s keepalive 16; }
	server {
		listen %[4]s;
		location / {
			proxy_pass http://replicas;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host localhost;
			proxy_next_upstream off;
		}
	}
}
`, user, b.dir, servers, address))
}
