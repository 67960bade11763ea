//go:build unix

package cases_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const (
	mapTwo   = `{"model":"m","prompt":"of {{input}}","inputs":["a","b"]}`
	askAndGo = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"cases","version":"1"}}}
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"map","arguments":` + mapTwo + `}}
{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"generate","arguments":{"model":"m","prompt":"hi","wait_seconds":60}}}
`
)

// mapped is how the program has answered a map of two inputs.
type mapped struct{ Answered, Failed, Reused int }

func mappedIn(t *testing.T, lines string) (m mapped) {
	t.Helper()
	for line := range strings.Lines(lines) {
		var got struct {
			ID     int
			Result struct {
				Content []struct{ Text string }
				IsError bool
			}
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil || got.Result.IsError {
			t.Errorf("got %s, %v", line, err)
		}
		if strings.Contains(line, `\"answered\"`) {
			if err := json.Unmarshal([]byte(got.Result.Content[0].Text), &m); err != nil {
				t.Error(err)
			}
		}
	}
	return m
}

// A directory that cannot be written costs what is to outlast the program, and no answer.
func TestStateDirectoryThatIsFullOrReadOnlyCostsNoAnswer(t *testing.T) {
	t.Parallel()
	host := replies(text("Paris"))
	host.start(t)
	for name, c := range map[string]struct {
		shell   string // before the program is started
		prepare func(dir string) error
		reused  int
		warned  bool
	}{
		"well":      {reused: 2},
		"full":      {shell: `trap "" XFSZ; ulimit -f 0; `, warned: true}, // which stands for a disk that takes nothing more
		"read-only": {warned: true, prepare: func(dir string) error { return os.Chmod(dir, 0o555) }},
		"with files where it has folders": {warned: true, prepare: func(dir string) error {
			for _, folder := range []string{"jobs", "batches", "usage"} {
				if err := os.WriteFile(filepath.Join(dir, folder), nil, 0o644); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		dir := openToAll(t)
		state := filepath.Join(dir, "state")
		if err := os.Mkdir(state, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(state, 0o777); err != nil { // whatever the mask says
			t.Fatal(err)
		}
		if c.prepare != nil {
			if err := c.prepare(state); err != nil {
				t.Fatal(err)
			}
		}
		for run, reused := range []int{0, c.reused} {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			cmd := exec.CommandContext(ctx, "sh", "-c", c.shell+`exec "$0" "$@"`, filepath.Join(dir, "program"), "--host="+host.server.URL, "--state-dir="+state)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
			if os.Geteuid() == 0 { // whom modes do not bind
				const nobody = 65534
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			}
			var log bytes.Buffer
			cmd.Stdin, cmd.Stderr = strings.NewReader(askAndGo), &log
			out, err := cmd.Output()
			cancel()
			if got, want := mappedIn(t, string(out)), (mapped{Answered: 2, Reused: reused}); err != nil || got != want {
				t.Errorf("%s, run %d: got %+v, %v, want %+v:\n%s", name, run, got, err, want, &log)
			}
			if warned := strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), "state"); warned != c.warned {
				t.Errorf("%s, run %d: a warning in the log is %t:\n%s", name, run, warned, &log)
			}
		}
	}
}

// openToAll is a new directory that other users may enter, with the program in it.
func openToAll(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ollama-mcp-state-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.Chmod(filepath.Join(dir, "state"), 0o700)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, "program"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if closeErr := to.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	return dir
}

func TestServersOfOneUserShareAStateDirectory(t *testing.T) {
	t.Parallel()
	host := replies(text("Paris"))
	r := row{backends: backends{"a": host}, flags: []string{"--state-dir=" + t.TempDir()}}
	one, other := r.start(t), r.start(t)
	for i, s := range []*session{one, other, one} {
		if got, want := mappedIn(t, s.call(call{tool: "map", args: mapTwo})), (mapped{Answered: 2, Reused: min(i, 1) * 2}); got != want {
			t.Errorf("call %d: got %+v, want %+v", i, got, want)
		}
	}
	if n := len(host.requests()); n != 2 {
		t.Errorf("the host was asked %d times for two inputs", n)
	}
}
