package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ollama-mcp/internal/e2e"
	"ollama-mcp/internal/e2e/clients"
	"ollama-mcp/internal/e2e/tinymodels"
)

const key = "e2e-key"

// Both examples of agents that use a server over HTTP take the same arguments.
func TestAgentsOverHTTPFindAModelShowProgressAndCancel(t *testing.T) {
	at := demandKey(t, listen(t, "127.0.0.1:0").url())
	for _, agent := range []struct {
		name, path string
		refused    string // part of its output without the key
		command    func(*testing.T) func(context.Context, ...string) *exec.Cmd
	}{
		{"http-agent-go", "/mcp", "Unauthorized", agentInGo},
		{"sse-agent-ts", "/sse", "(401)", agentInTypeScript},
	} {
		t.Run(agent.name, func(t *testing.T) {
			command := agent.command(t) // building and installing takes longer than the tests
			ctx := deadline(t)
			ask := func(args ...string) *exec.Cmd {
				cmd := command(ctx, append([]string{"--url", at + agent.path}, args...)...)
				cmd.Env = append(os.Environ(), "OLLAMA_MCP_KEY="+key)
				return cmd
			}
			stdout, stderr, status := output(t, ask())
			if status != 0 || stdout != tinymodels.Fills.Answer+"\n" || !strings.Contains(stderr, "list-models: ") {
				t.Errorf("the tools and the first model: status %d\n%s%s", status, stdout, stderr)
			}
			stdout, stderr, status = output(t, ask("--model", "tiny-says", "Who", "jumps?"))
			if status != 0 || stdout != tinymodels.Says.Answer+"\n" {
				t.Errorf("a model by name: status %d\n%s%s", status, stdout, stderr)
			}
			stdout, stderr, status = output(t, ask("--model", "none"))
			if status != 1 || stdout != "" || !strings.Contains(stderr, agent.name+": chat: ") || !strings.Contains(stderr, "ollama pull none") {
				t.Errorf("a model that is missing: status %d\n%s%s", status, stdout, stderr)
			}
			keyless := ask()
			keyless.Env = append(keyless.Env, "OLLAMA_MCP_KEY=")
			stdout, stderr, status = output(t, keyless)
			if status != 1 || stdout != "" || !strings.Contains(stderr, agent.refused) {
				t.Errorf("without the key: status %d\n%s%s", status, stdout, stderr)
			}
			interrupt(t, ask("--model", "tiny-loops"))
		})
	}
}

// interrupt ends an agent with Ctrl-C while a model generates without end.
func interrupt(t *testing.T, agent *exec.Cmd) {
	t.Helper()
	var stderr buffer
	agent.Stderr = &stderr
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "progress is shown", func() bool { return strings.Contains(stderr.String(), " tokens, ") })
	before := ended(shared, "/api/chat")
	if err := agent.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	_ = agent.Wait() // how it ended is in its status
	if status := agent.ProcessState.ExitCode(); status != 1 {
		t.Errorf("status %d, want 1\n%s", status, stderr.tail())
	}
	eventually(t, "Ollama has stopped", func() bool { return ended(shared, "/api/chat") > before })
}

func agentInGo(t *testing.T) func(context.Context, ...string) *exec.Cmd {
	t.Helper()
	agent := filepath.Join(t.TempDir(), "http-agent-go")
	if err := build(t.Context(), agent, "..", "..", "examples", "http-agent-go"); err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, args ...string) *exec.Cmd { return exec.CommandContext(ctx, agent, args...) }
}

// agentInTypeScript runs a copy of the example with the packages of the clients, which are
// installed already.
func agentInTypeScript(t *testing.T) func(context.Context, ...string) *exec.Cmd {
	t.Helper()
	clients.Install(t)
	dir, example := t.TempDir(), path(t, "..", "..", "examples", "sse-agent-ts")
	if theirs, ours := sdkVersion(t, example), sdkVersion(t, path(t, "clients")); theirs != ours {
		t.Errorf("the example is for version %s of the SDK, and tried with %s", theirs, ours)
	}
	if err := os.CopyFS(dir, os.DirFS(example)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "node_modules")); err != nil { // of somebody who tried it
		t.Fatal(err)
	}
	if err := os.Symlink(path(t, "clients", "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, args ...string) *exec.Cmd {
		cmd, err := clients.Command(ctx, filepath.Join(dir, "agent.ts"), args...)
		if err != nil {
			t.Fatal(err)
		}
		return cmd
	}
}

// sdkVersion is the version of the TypeScript SDK in the package.json of a folder.
func sdkVersion(t *testing.T, folder string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(folder, "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	var wanted struct {
		Dependencies map[string]string
	}
	if err := json.Unmarshal(raw, &wanted); err != nil {
		t.Fatal(err)
	}
	return wanted.Dependencies["@modelcontextprotocol/sdk"]
}

func path(t *testing.T, elem ...string) string {
	t.Helper()
	path, err := e2e.Path(elem...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// demandKey starts a proxy that passes on only requests with the key.
func demandKey(t *testing.T, server string) (address string) {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	guard := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "Bearer "+key {
			http.Error(w, "no key", http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(guard.Close)
	return guard.URL
}
