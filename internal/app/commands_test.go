//go:build !race

package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
)

// These tests run the program some hundred times, each time to its end. With the race detector it
// takes seven times as long to start, and does one thing after another.

func TestHelpIsAsInTestdata(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, c := range commands {
		args := []string{c.name, "--help"}
		if len(c.examples) == 0 {
			args = []string{"help"}
		}
		got, errs, status := program(t, "", nil, args...)
		if status != 0 || errs != "" {
			t.Errorf("%v: status %d, %s", args, status, errs)
		}
		if c.name != "version" && c.name != "manual" { // which have no help of their own
			all.WriteString("=== " + c.name + "\n" + got + "\n")
		}
	}
	const file = "testdata/help.txt"
	if *update {
		if err := os.WriteFile(file, []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if all.String() != string(want) {
		t.Errorf("%s is out of date: run go test ./internal/app -run TestHelp -update and read the difference", file)
	}
}

func TestHelpIsFoundWhereverItIsLookedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"--help", "Commands:\n"},
		{"-h", "Commands:\n"},
		{"help nonsense", "Commands:\n"},
		{"help doctor", "ollama-mcp doctor: "},
		{"doctor -h", "ollama-mcp doctor: "},
		{"help serve", "Queue and routing:\n"},
		{"--host=gpu --help", "Commands:\n"},
		{"call --json --help", "ollama-mcp call [TOOL]"},
		{"call generate --help", "ollama-mcp call generate model=llama3.2 prompt=\"Why is the sky blue?\"\n"},
		{"call generate model=x -h", "required  "},
		{"help call list_models", "list-models: "},
	} {
		if got, errs, status := program(t, "", nil, strings.Fields(c.args)...); status != 0 || !strings.Contains(got, c.want) {
			t.Errorf("%s: status %d, want %q\n%s%s", c.args, status, c.want, got, errs)
		}
	}
}

// Every tool has help with all its arguments, and an example that the tool would accept.
func TestEveryToolHasHelp(t *testing.T) {
	t.Parallel()
	list, _, _ := program(t, "", nil, "call")
	for line := range strings.Lines(list) {
		name := strings.Fields(line)[0]
		got, errs, status := program(t, "", nil, "call", name, "--help")
		if status != 0 || !strings.HasPrefix(got, name+": ") || !strings.Contains(got, "  ollama-mcp call "+name) || strings.Contains(got, "=\n") {
			t.Errorf("%s: status %d\n%s%s", name, status, got, errs)
		}
	}
}

func TestVersionSaysWhatWasBuilt(t *testing.T) {
	for _, arg := range []string{"version", "--version"} {
		if out, _, status := program(t, "", nil, arg); status != 0 || !strings.HasPrefix(out, "ollama-mcp ") {
			t.Errorf("%s: status %d, %q", arg, status, out)
		}
	}
}

func TestMisuseIsExplainedAndEndsWithStatus2(t *testing.T) {
	for _, tc := range []struct {
		args []string
		env  []string
		want string
	}{
		{args: []string{"serv"}, want: `unknown command "serv"; did you mean serve?`},
		{args: []string{"doctor", "extra"}, want: `unexpected argument "extra"`},
		{args: []string{"bench", "--callers=0"}, want: "--callers: must be at least 1"},
		{args: []string{"token", "new", "a b c"}, want: "1 to 64 letters"},
		{args: []string{"token", "list"}, want: "usage: "},
		{args: []string{"token", "revoke", "a", "--append=x"}, want: "--append goes with token new"},
		{args: []string{"--solts=3"}, want: "--solts"},
		{args: []string{"--slots=none"}, want: "--slots"},
		{args: []string{"--slots=2", "extra"}, want: `unexpected argument "extra"`},
		{args: []string{"--host=ftp://example"}, want: "scheme"},
		{args: []string{"--ca-file=missing.pem"}, want: "missing.pem"},
		{env: []string{"OLLAMA_MCP_QUEUE=long"}, want: "OLLAMA_MCP_QUEUE"},
		{args: []string{"doctor", "--timeout=-1s"}, want: "--timeout"},
		{args: []string{"--insecure=perhaps"}, want: "--insecure"},
		{args: []string{"--output-filter=mask:a", "--output-filter=mask:b*"}, want: `output-filter: the rule "#2"`},
	} {
		out, errs, status := program(t, "", tc.env, tc.args...)
		if status != misuse || !strings.Contains(errs, tc.want) || out != "" {
			t.Errorf("%v %v: status %d, stdout %q, stderr %q; want %q", tc.env, tc.args, status, out, errs, tc.want)
		}
	}
}

func TestToolsAreListedWithoutAnyHost(t *testing.T) {
	out, _, _ := program(t, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","id":2,"method":"tools/list"}`, []string{"OLLAMA_HOST=127.0.0.1:1"})
	for _, name := range []string{"list-models", "generate", "chat", "embed"} {
		if !strings.Contains(out, `"name":"`+name+`"`) {
			t.Errorf("no %s in %s", name, out)
		}
	}
}

func TestModelsAndStatusAreTablesForPeopleAndJSONForMachines(t *testing.T) {
	host := "--host=" + backendtest.New("gpu-1").Listen(t)
	for _, c := range []struct {
		args   []string
		wanted []string // parts of what is printed
	}{
		{[]string{"list-models"}, []string{"MODEL ", "HOSTS", "\ntiny:latest"}},
		{[]string{"list-models", "--json"}, []string{`"name": "tiny:latest"`}},
		{[]string{"status"}, []string{"HOST ", "OLLAMA\n", " ok ", " (learned) ", " 0.17.4\n", "\nQueue        empty\n", "\nCalls        none yet\n"}},
		{[]string{"status", "--json"}, []string{`"version": "0.17.4"`}},
	} {
		out, errs, status := program(t, "", nil, append(append([]string{"call"}, c.args...), host)...)
		for _, want := range c.wanted {
			if status != ok || !strings.Contains(out, want) {
				t.Errorf("call %v: status %d, %q is not in\n%s%s", c.args, status, want, out, errs)
			}
		}
	}
}

func TestCallPrintsVectorsHoweverManyThereAre(t *testing.T) {
	host := backendtest.New("gpu-1")
	out, errs, status := program(t, "", nil, "call", "embed", "model=tiny", "--host", host.Listen(t), "--inline-bytes=10", "input=a")
	if status != 0 || strings.Contains(out, `"vectors"`) || !strings.Contains(out, `"uri":"ollama://embeddings/`) {
		t.Fatalf("beyond --inline-bytes: status %d, %q, %q; want a resource", status, out, errs)
	}
	var texts []string
	for range 2000 {
		texts = append(texts, "input=a")
	}
	out, errs, status = program(t, "", nil, append([]string{"call", "embed", "model=tiny", "--host", host.Listen(t)}, texts...)...)
	if status != 0 || strings.Count(out, "[") < len(texts) || strings.Contains(out, "ollama://") {
		t.Errorf("status %d, %d bytes, %q; want vectors", status, len(out), errs)
	}
}

func TestMetadataOfAResultIsShort(t *testing.T) {
	served := servedBy(t)
	if len(served) != 4 || served["model"] != "tiny" || served["source"] != "local" || served["host"] == nil || served["trace_id"] == nil {
		t.Errorf("got %v, want model, host, source and trace_id", served)
	}
}

func TestMetadataOfAResultIsAsConfigured(t *testing.T) {
	if served := servedBy(t, "--result-meta=full"); served["tokens_out"] == nil || served["total_ms"] == nil {
		t.Errorf("full: got %v", served)
	}
	if served := servedBy(t, "--result-meta=off"); served != nil {
		t.Errorf("off: got %v", served)
	}
}

func TestDoctorFailsWhereTheMainJobCannotRun(t *testing.T) {
	if out, _, status := program(t, "", []string{"OLLAMA_HOST=127.0.0.1:1"}, "doctor"); status != failure || !strings.Contains(out, "ollama serve") {
		t.Errorf("no host: status %d, %q", status, out)
	}
	host := backendtest.New("gpu-1")
	if out, _, status := program(t, "", nil, "doctor", "--host="+host.Listen(t)); status != ok {
		t.Errorf("a host with a model: status %d, %q", status, out)
	}
}

func TestAddressThatCannotBeServedIsExplained(t *testing.T) {
	for _, tc := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--listen=0.0.0.0:0"}, failure, "--insecure"},
		{[]string{"--metrics-address=0.0.0.0:0"}, failure, "metrics-address: server: listen on 0.0.0.0:0: other machines could connect"},
		{[]string{"--listen=127.0.0.1:http-or-so"}, failure, "127.0.0.1:http-or-so"},
		{[]string{"--listen=127.0.0.1:0", "--allowed-origin=*"}, misuse, "--allowed-origin: must be of the form https://example.com"},
	} {
		if out, errs, status := program(t, "", nil, tc.args...); status != tc.status || out != "" || !strings.Contains(errs, tc.want) {
			t.Errorf("%v: status %d, stdout %q, stderr %q; want %q", tc.args, status, out, errs, tc.want)
		}
	}
}

// servedBy is what the metadata of an answer says about what served it.
func servedBy(t *testing.T, args ...string) map[string]any {
	t.Helper()
	const session = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"generate","arguments":{"model":"tiny","prompt":"hi"}}}
`
	out, errs, status := program(t, session, nil, append(args, "--host="+backendtest.New("gpu-1").Listen(t))...)
	for line := range strings.Lines(out) {
		var answer struct {
			ID     int
			Result *struct {
				Meta map[string]map[string]any `json:"_meta"`
			}
		}
		if json.Unmarshal([]byte(line), &answer) == nil && answer.ID == 2 && answer.Result != nil {
			return answer.Result.Meta["ollama-mcp/served"]
		}
	}
	t.Fatalf("status %d, no answer in %q; %q", status, out, errs)
	return nil
}

func TestDoctorSaysWhereTheAddressIsFrom(t *testing.T) {
	t.Parallel()
	address := backendtest.New("gpu-1").Listen(t)
	bare := strings.TrimPrefix(address, "http://")
	file := filepath.Join(t.TempDir(), "config.yaml")
	write(t, file, "hosts: [{name: gpu, url: \""+address+"\"}]\n")
	for _, c := range []struct {
		env, args []string
		want      string
	}{
		{nil, []string{"--host=" + address}, "ok    address: " + bare + ", from --host\n"},
		{nil, []string{"--config=" + file}, "ok    address: " + bare + ", from " + file + "\n"},
		{[]string{"OLLAMA_HOST=" + address}, nil, "ok    address: " + bare + ", from OLLAMA_HOST of this shell\n"},
		{[]string{"OLLAMA_HOST=" + address}, nil, `"env": {"OLLAMA_HOST": "` + bare + `"}`},
		{[]string{"OLLAMA_MCP_HOST=" + address}, nil, `does not get OLLAMA_MCP_HOST`},
		{nil, nil, "ok    address: 127.0.0.1:11434, the default"},
		{nil, []string{"--host=" + address + "/v1/"}, "leave out /v1"},
		{nil, []string{"--host=http://me:sesame@" + bare}, "ok    address: " + bare + ", from --host\n"},
	} {
		out, errs, _ := program(t, "", c.env, append([]string{"doctor"}, c.args...)...)
		if !strings.Contains(out, c.want) || strings.Contains(out+errs, "sesame") {
			t.Errorf("%v %v: got\n%s%s\nwant %q", c.env, c.args, out, errs, c.want)
		}
	}
}

func TestDoctorLooksAtWhatMCPHostsWouldStart(t *testing.T) {
	t.Parallel()
	program, address := installed(t), backendtest.New("gpu-1").Listen(t)
	for _, c := range []struct {
		name, entry string
		status      int
		want        string
	}{
		{"as this shell", `{"command": "PROGRAM", "env": {"OLLAMA_HOST": "ADDRESS"}}`, ok, "ok    Cursor: starts PROGRAM with Ollama at "},
		{"without the address", `{"command": "PROGRAM", "env": {"OLLAMA_HOST": "127.0.0.1:1"}}`, failure, "fail  Cursor: uses Ollama at 127.0.0.1:1, and this shell "},
		{"another that answers", `{"command": "PROGRAM", "args": ["--host", "OTHER"]}`, ok, "warn  Cursor: uses Ollama at "},
		{"a program that is gone", `{"command": "/nowhere/ollama-mcp"}`, failure, "/nowhere/ollama-mcp, which does not exist"},
		{"a program that is nowhere", `{"command": "ollama-mcp"}`, failure, "not on the PATH"},
		{"a mistake in the options", `{"command": "PROGRAM", "args": ["--slots=x"]}`, failure, "does not start as this host starts it: --slots"},
		{"a variable of the shell", `{"command": "PROGRAM", "args": ["--config", "FILE"]}`, failure, "add the variable that it names to env"},
		{"a container with a network of its own", `{"command": "DOCKER", "args": ["run", "-i", "ghcr.io/us/ollama-mcp"]}`, failure, "where 127.0.0.1:11434 is the container itself"},
		{"a container that is told", `{"command": "DOCKER", "args": ["run", "-i", "-e", "OLLAMA_HOST=OTHER", "ghcr.io/us/ollama-mcp"]}`, failure, " is the container itself"},
		{"a container on this network", `{"command": "DOCKER", "args": ["run", "-i", "--network=host", "-e", "OLLAMA_HOST=ADDRESS", "ghcr.io/us/ollama-mcp"]}`, ok, "ok    Cursor: starts DOCKER with Ollama at "},
		{"a package", `{"command": "NPX", "args": ["-y", "@us/ollama-mcp", "--slots=x"]}`, failure, "does not start as this host starts it: --slots"},
		{"switched off", `{"command": "PROGRAM", "disabled": true}`, ok, "warn  Cursor: the server is switched off"},
	} {
		home := t.TempDir()
		file := filepath.Join(home, "config.yaml")
		write(t, file, "providers:\n  cloud: {kind: openai, url: \"https://127.0.0.1:1/v1\", key_env: CLOUD_KEY}\n")
		fill := strings.NewReplacer("PROGRAM", program, "ADDRESS", address, "OTHER", strings.Replace(address, "127.0.0.1", "localhost", 1), "FILE", file,
			"DOCKER", filepath.Join(home, "docker"), "NPX", filepath.Join(home, "npx"))
		write(t, filepath.Join(home, "docker"), "")
		write(t, filepath.Join(home, "npx"), "")
		if err := os.Mkdir(filepath.Join(home, ".cursor"), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(home, ".cursor", "mcp.json"), fill.Replace(`{"mcpServers": {"ollama": `+c.entry+`}}`))
		out, errs, status := atHome(t, program, home, []string{"OLLAMA_HOST=" + address, "CLOUD_KEY=x"}, "doctor")
		if status != c.status || !strings.Contains(out, fill.Replace(c.want)) {
			t.Errorf("%s: status %d, want %d and %q\n%s%s", c.name, status, c.status, c.want, out, errs)
		}
	}
}
