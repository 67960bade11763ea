package cases_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-mcp/internal/e2e"
)

// program is the path of the program to test.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	if program = os.Getenv("OLLAMA_MCP_BIN"); program == "" {
		dir, err := os.MkdirTemp("", "ollama-mcp-cases-")
		if err != nil {
			return giveUp(err)
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "ollama-mcp")
		source, err := e2e.Path("..", "..")
		if err != nil {
			return giveUp(err)
		}
		cmd := exec.Command("go", "build", "-trimpath", "-o", program, ".")
		cmd.Dir, cmd.Env = source, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return giveUp(fmt.Errorf("%w\n%s", err, out))
		}
	}
	return m.Run()
}

func giveUp(err error) (code int) {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// A row is a case.
type row struct {
	name string

	// backends by name: "p" is a provider of OpenAI's API that counts as local, "cloud" one
	// that does not, and every other name is a host.
	backends map[string]*backend
	config   string // more of the configuration file
	provider string // more of the settings of each provider
	flags    []string

	calls []call

	// asked is the most requests for answers that each backend may get, none if it is not
	// named, and under total all of them together. sent has words that must be in the last of them, or must not if they begin
	// with "!".
	asked map[string]int
	sent  map[string][]string

	// opened are the hosts whose circuit breakers may be open afterwards.
	opened []string
}

// total stands for all backends together.
const total = ""

// A call is what a caller sends, and what must come back.
type call struct {
	tool, args string
	message    string // the whole message, in place of tool and args; its id must be 7

	code    string // of the error; empty for a success
	refused bool   // by an error of the protocol
	text    string // the first block; empty if it does not matter

	// words must be somewhere in the result, as JSON, or must not if they begin with "!".
	words []string
}

// TestCases runs the rows.
func TestCases(t *testing.T) {
	for _, rows := range [][]row{leaving, endings, accents, shapes, failures, replays, ladders, callers, meanings, abuses} {
		for _, r := range rows {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.run(t)
			})
		}
	}
}

func (r row) run(t *testing.T) {
	s := r.start(t)
	for i, c := range r.calls {
		c.check(t, fmt.Sprintf("call %d", i+1), s.call(c))
	}
	all := 0
	for name, b := range r.backends {
		got := b.requests()
		all += len(got)
		if len(got) > r.asked[name] {
			t.Errorf("%s was asked %d times, want at most %d:\n%s", name, len(got), r.asked[name], strings.Join(got, "\n"))
		}
		if len(r.sent[name]) > 0 && len(got) == 0 {
			t.Errorf("%s was never asked", name)
			continue
		}
		wantWords(t, name+" was sent", lastOf(got), r.sent[name])
	}
	if most, ok := r.asked[total]; ok && all > most {
		t.Errorf("all were asked %d times, want at most %d", all, most)
	}
	var status struct {
		Result struct {
			StructuredContent struct {
				Hosts []struct{ Name, Breaker string }
			}
		}
	}
	if err := json.Unmarshal([]byte(s.call(call{tool: "status", args: "{}"})), &status); err != nil {
		t.Fatal(err)
	}
	for _, h := range status.Result.StructuredContent.Hosts {
		if h.Breaker != "closed" && !slices.Contains(r.opened, h.Name) {
			t.Errorf("the circuit breaker of %s is %s", h.Name, h.Breaker)
		}
	}
}

func lastOf(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

func (c call) check(t *testing.T, name, got string) {
	t.Helper()
	var m struct {
		Result struct {
			IsError           bool
			Content           []struct{ Text string }
			StructuredContent struct{ Code string }
		}
		Error *struct{ Message string }
	}
	if err := json.Unmarshal([]byte(got), &m); err != nil {
		t.Fatalf("%s: %v in %s", name, err, got)
	}
	if c.refused && m.Error != nil {
		return
	}
	if m.Error != nil || c.refused {
		t.Errorf("%s: got %.1000s; an error of the protocol: want %v", name, got, c.refused)
		return
	}
	if m.Result.IsError != (c.code != "") || c.code != "" && m.Result.StructuredContent.Code != c.code {
		t.Errorf("%s: got %.1000s, want the code %q", name, got, c.code)
		return
	}
	if c.text != "" && (len(m.Result.Content) == 0 || m.Result.Content[0].Text != c.text) {
		t.Errorf("%s: got %.1000s, want the text %q", name, got, c.text)
	}
	wantWords(t, name+" came back with", got, c.words)
}

func wantWords(t *testing.T, what, got string, words []string) {
	t.Helper()
	for _, word := range words {
		absent, not := strings.CutPrefix(word, "!")
		if not && strings.Contains(got, absent) {
			t.Errorf("%s %.1500s, which must not have %q", what, got, absent)
		}
		if !not && !strings.Contains(got, word) {
			t.Errorf("%s %.1500s, want %q in it", what, got, word)
		}
	}
}

// A session is the program with a caller on stdio.
type session struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

// limit only catches what hangs.
const limit = 10 * time.Minute

func (r row) start(t *testing.T) *session {
	t.Helper()
	var file strings.Builder
	var hosts, providers string
	for name, b := range r.backends {
		b.start(t)
		switch name {
		case "p", "cloud":
			providers += fmt.Sprintf("  %s: {kind: openai, url: %q, local: %v%s}\n", name, b.server.URL+"/v1", name == "p", r.provider)
		default:
			hosts += fmt.Sprintf("  - {name: %s, url: %q}\n", name, b.server.URL)
		}
	}
	if hosts == "" { // one that has nothing to do
		idle := &backend{}
		idle.start(t)
		hosts = fmt.Sprintf("  - {name: idle, url: %q}\n", idle.server.URL)
	}
	fmt.Fprintf(&file, "hosts:\n%s", hosts)
	if providers != "" {
		fmt.Fprintf(&file, "providers:\n%s", providers)
	}
	file.WriteString(r.config)
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), limit)
	cmd := exec.CommandContext(ctx, program, append([]string{"--config", path}, r.flags...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	var log strings.Builder
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the program did not end in good order: %v", err)
		}
		cancel()
		if t.Failed() {
			t.Logf("its log:\n%s", log.String())
		}
	})
	s := &session{t: t, in: in, out: bufio.NewReader(out)}
	s.send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"cases","version":"1"}}}`)
	s.answer("1")
	s.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return s
}

func (s *session) send(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.in, line+"\n"); err != nil {
		s.t.Fatal(err)
	}
}

// answer is the message with that id.
func (s *session) answer(id string) string {
	s.t.Helper()
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			s.t.Fatalf("no answer: %v", err)
		}
		var m struct{ ID json.RawMessage }
		if json.Unmarshal([]byte(line), &m) == nil && string(m.ID) == id {
			return line
		}
	}
}

func (s *session) call(c call) string {
	s.t.Helper()
	message := c.message
	if message == "" {
		message = fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, c.tool, c.args)
	}
	s.send(strings.ReplaceAll(message, "\n", " "))
	return s.answer("7")
}
