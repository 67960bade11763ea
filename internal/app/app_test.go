package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/config"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// TestMain makes the test binary be the program when a test starts it as such.
func TestMain(m *testing.M) {
	if os.Getenv("BE_OLLAMA_MCP") != "" {
		os.Exit(Run(WithSignals(context.Background()), os.Args[1:], Stdio{os.Stdin, os.Stdout, os.Stderr}))
	}
	os.Exit(m.Run())
}

// program runs the program to its end, in an environment with nothing of ours but env.
func program(t *testing.T, stdin string, env []string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(env, "BE_OLLAMA_MCP=1", "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir(), "OLLAMA_MCP_LOG_LEVEL=error",
		"GORACE=atexit_sleep_ms=0") // or each process takes a second to end under the race detector
	cmd.Stdin = strings.NewReader(stdin)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	_ = cmd.Run() // the status tells
	if ctx.Err() != nil {
		t.Fatalf("%v did not end; it wrote %q and %q", args, out.String(), err.String())
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

func TestVersionIsKnownWithoutBuildInformationToo(t *testing.T) {
	if got := versionLine(nil, false); !strings.HasPrefix(got, "ollama-mcp (devel) go") {
		t.Errorf("without any: %q", got)
	}
	info := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}}}
	if got := versionLine(info, true); !strings.HasPrefix(got, "ollama-mcp v1.2.3 go") || !strings.HasSuffix(got, " 0123456789ab") {
		t.Errorf("with it: %q", got)
	}
	release = "v0.1.0 89abcdef0123456789 2026-01-02T03:04:05Z"
	defer func() { release = "" }()
	if got := versionLine(info, true); !strings.HasPrefix(got, "ollama-mcp v0.1.0 go") || !strings.HasSuffix(got, " 89abcdef0123 2026-01-02T03:04:05Z") {
		t.Errorf("of a release: %q", got)
	}
}

// The way of one call through the whole program, as the shell's printf would take it.
func TestLinesOnStdinAreAnsweredOnStdout(t *testing.T) {
	host := backendtest.New("gpu-1").Answer("quick brown fox")
	out, errs, status := program(t, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"generate","arguments":{"model":"tiny","prompt":"hi"}}}
{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"generate","arguments":{"model":"tiny","prompt":"hi"}}}`,
		[]string{"OLLAMA_HOST=" + host.Listen(t), "OLLAMA_API_KEY=sesame"})
	if status != 0 || errs != "" {
		t.Errorf("status %d, stderr %q", status, errs)
	}
	answers := map[int]string{}
	for line := range strings.Lines(out) {
		var message struct {
			ID     int
			Result json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &message); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		answers[message.ID] = string(message.Result)
	}
	if !strings.Contains(answers[1], `"protocolVersion":"2025-06-18"`) || !strings.Contains(answers[1], "list-models: call it first") {
		t.Errorf("initialize: %s", answers[1])
	}
	for id := 2; id <= 3; id++ {
		if !strings.Contains(answers[id], "quick brown fox") {
			t.Errorf("generate: %s", answers[id])
		}
	}
	if n := len(host.Calls()); n != 1 {
		t.Errorf("the host was asked %d times by the same call twice", n)
	}
	if key := host.Calls()[0].Header.Get("Authorization"); key != "Bearer sesame" {
		t.Errorf("the host was sent the key %q", key)
	}
}

func TestHangUpHasAServerOnStdioReadItsFileAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	write(t, file, "log-level: info\n")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--config="+file)
	cmd.Env = []string{"BE_OLLAMA_MCP=1", "HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0"}
	stdin, errIn := cmd.StdinPipe()
	stdout, errOut := cmd.StdoutPipe()
	stderr, errErr := cmd.StderrPipe()
	if err := errors.Join(errIn, errOut, errErr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	ping(t, stdin, stdout)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for log := bufio.NewReader(stderr); ; {
		line, err := log.ReadString('\n')
		if err != nil {
			t.Fatalf("its log ended with %v", err)
		}
		if strings.Contains(line, "config reloaded") {
			break
		}
	}
	ping(t, stdin, stdout)
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// ping sees that a server on stdio answers.
func ping(t *testing.T, stdin io.Writer, stdout io.Reader) {
	t.Helper()
	if _, err := io.WriteString(stdin, `{"jsonrpc":"2.0","id":1,"method":"ping"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || !strings.Contains(line, `"result"`) {
		t.Fatalf("got %q, %v", line, err)
	}
}

func TestCallGoesThroughAServerOfItsOwn(t *testing.T) {
	host := backendtest.New("gpu-1").AnswerWith(func(c backendtest.Call) backendtest.Reply {
		return backendtest.Reply{Text: "You said: " + c.Prompt}
	})
	env := []string{"OLLAMA_HOST=127.0.0.1:1", "OLLAMA_MCP_LISTEN=127.0.0.1:1"} // the flag, handed on to the server, must win
	out, errs, status := program(t, "from stdin", env, "call", "generate", "model=tiny", "prompt=-", "--host", host.Listen(t), "--allowed-host=x")
	if status != 0 || out != "You said: from stdin\n" {
		t.Errorf("status %d, %q, %q", status, out, errs)
	}
	out, errs, status = program(t, "", env, "call", "generate", "model=tiny", "prompt=hi")
	if status != 1 || out != "" || !strings.Contains(errs, "ollama serve") {
		t.Errorf("without a host: status %d, %q, %q", status, out, errs)
	}
}

func TestConfigurationInTheReadmeIsOne(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, found := strings.Cut(string(readme), "```yaml\n")
	example, _, ended := strings.Cut(example, "```")
	file := filepath.Join(t.TempDir(), "config.yaml")
	write(t, file, example)
	var c config.Config
	err = config.Parse(config.Flags(&c), &c, []string{"--config=" + file}, func(name string) string {
		return map[string]string{"OPENAI_API_KEY": "a key"}[name]
	})
	if !found || !ended || err != nil || len(c.Hosts) != 2 || len(c.Models["chat-pro:latest"].Try) != 3 {
		t.Errorf("got %v, %+v", err, c)
	}
}

func TestDoctorAndBenchFindAHostBehindAName(t *testing.T) {
	host := backendtest.New("gpu-1")
	behind := "--host=dns+" + strings.Replace(host.Listen(t), "127.0.0.1", "localhost", 1)
	if out, errs, status := program(t, "", nil, "doctor", behind); status != ok {
		t.Errorf("doctor: status %d\n%s%s", status, out, errs)
	}
	if out, errs, status := program(t, "", nil, "bench", behind, "--callers=1", "--calls=3", "--compare"); status != ok {
		t.Errorf("bench: status %d\n%s%s", status, out, errs)
	}
	if _, errs, _ := program(t, "", nil, "bench", "--host=dns+http://nowhere.invalid:1"); !strings.Contains(errs, "no host was found") {
		t.Errorf("of a name that is none: %s", errs)
	}
}

// The way of one call over HTTP, until the program is told to end.
func TestCallsAreAnsweredOverHTTP(t *testing.T) {
	host := backendtest.New("gpu-1").Answer("quick brown fox")
	socket := t.TempDir() + "/mcp.sock"
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "--listen=unix:"+socket, "--listen=127.0.0.1:0", "--host="+host.Listen(t))
	cmd.Env = []string{"BE_OLLAMA_MCP=1", "HOME=" + t.TempDir(), "GORACE=atexit_sleep_ms=0"}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log := bufio.NewScanner(stderr)
	for range 2 { // it says so for each address
		if !log.Scan() || !strings.Contains(log.Text(), "listening") {
			t.Fatalf("it logs %q", log.Text())
		}
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://localhost/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"generate","arguments":{"model":"tiny","prompt":"hi"},
		"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"generate"},
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || !bytes.Contains(body, []byte("quick brown fox")) {
		t.Errorf("got %d, %s, %v", resp.StatusCode, body, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for log.Scan() {
		t.Logf("it logs %s", log.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its socket is left behind: %v", err)
	}
}

func TestBenchLoadsTheHostsAndDrawsAPlot(t *testing.T) {
	host := backendtest.New("gpu-1").Answer("quick brown fox").Install(backendtest.Model{Name: "a-vector", Capabilities: []string{"embedding"}})
	url, plot := "--host="+host.Listen(t), filepath.Join(t.TempDir(), "plot.svg")
	out, errs, status := program(t, "", nil, "bench", url, "--callers=1,2", "--calls=20", "--svg="+plot, "--compare")
	for _, word := range []string{"tiny", "one connection", "default client", "pool", "p99"} {
		if status != ok || !strings.Contains(out, word) {
			t.Errorf("status %d, %q; want %s in %s", status, errs, word, out)
		}
	}
	if drawn, err := os.ReadFile(plot); err != nil || !bytes.HasPrefix(drawn, []byte("<svg")) {
		t.Errorf("the plot: %v, %.20q", err, drawn)
	}
	out, _, status = program(t, "", nil, "bench", url, "--callers=1", "--calls=3", "--embed", "--json")
	var report struct{ Rows []struct{ Callers int } }
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != ok || len(report.Rows) != 1 {
		t.Errorf("status %d, %v: %s", status, err, out)
	}
	if _, errs, status := program(t, "", nil, "bench", url, "--model=unheard-of"); status != failure || !strings.Contains(errs, "unheard-of") {
		t.Errorf("a model that is not there: status %d, %q", status, errs)
	}
}
