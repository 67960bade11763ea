package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

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

// Files that anybody may have named are read and written under names that stay in one line.
func TestFilesWithHostileNamesAreReadAndWritten(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 250)
	shown := map[string]string{
		"line\nbreak": `line\nbreak`, "quote\"'`": "quote\"'`", "bell\a\x1b[2J": `bell\a\x1b[2J`, "bad\xff": `bad\xff`,
		"-rf": "-rf", "..a": "..a", "a..b": "a..b", "$(id)": "$(id)", "\u202egnp": `\u202egnp`, "=== x ===": "=== x ===", long: long,
	}
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name := range shown {
		if err := os.WriteFile(filepath.Join(dir, "in", name), []byte("hi"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "huge.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "huge.txt"), 5<<30); err != nil { // which takes no room on the disk
		t.Fatal(err)
	}
	for name, to := range map[string]string{"in/link": outside, "in/loop": "loop", "link.jsonl": outside} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	ctx := deadline(t)
	s := attach(t, ctx, command(ctx, shared.URL(), "--allow-dir", dir, "--allow-write", dir), "")
	call := func(args map[string]any) string {
		args["model"], args["prompt"] = "tiny-says", "{{input}}"
		raw, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	const out = "-o\n\"out\".jsonl"
	if a := s.succeeds("map", call(map[string]any{"files": []string{"in/*"}, "output_file": out})); a.StructuredContent["path"] != filepath.Join(dir, out) {
		t.Errorf("the receipt is %s", a.text())
	}
	text, err := os.ReadFile(filepath.Join(dir, out))
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		var row struct{ Name, Output string }
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.Output != tinymodels.Says.Answer {
			t.Errorf("got %s, %v", line, err)
		}
		rows[row.Name] = true
	}
	for name, want := range shown {
		if !rows["in/"+want] {
			t.Errorf("%q is not among the rows as %q", name, want)
		}
	}
	if len(rows) != len(shown) {
		t.Errorf("there are the rows %v", rows)
	}
	for name := range shown {
		if utf8.ValidString(name) { // others cannot be in JSON
			s.succeeds("generate", call(map[string]any{"files": []string{"in/" + name}}))
		}
	}
	for argument, cases := range map[string]map[string]string{
		"files": {
			"no\nsuch": `no\nsuch: does not exist`, "../secret": "outside", outside: "outside", "in/link": "leads out of the allowed directory",
			"in/loop": "in/loop", strings.Repeat("x", 5000): "…", "nul\x00": "is not a path", "in/../../x": "outside",
			"huge.txt": "has 5368709120 bytes, more than the 10485760",
		},
		"output_file": {
			"no\nsuch/x": "folder that does not exist", "../x": "outside", outside: "outside", "link.jsonl": "no regular file",
			strings.Repeat("x", 300): "too long", "nul\x00": "is not a path", out: "exists already", "in": "is a directory",
		},
	} {
		for name, words := range cases {
			var value any = name
			if argument == "files" {
				value = []string{name}
			}
			a := s.start("generate", call(map[string]any{argument: value})).result()
			if !a.IsError || strings.Contains(a.text(), "\n") || !strings.Contains(a.text(), words) {
				t.Errorf("%s %.50q: got %q, want %q in one line", argument, name, a.text(), words)
			}
		}
	}
	if got, err := os.ReadFile(outside); err != nil || string(got) != "secret" {
		t.Errorf("the file outside has %q, %v", got, err)
	}
	if names, err := filepath.Glob(filepath.Join(dir, ".ollama-mcp-*")); err != nil || len(names) > 0 {
		t.Errorf("%q are left, %v", names, err)
	}
}
