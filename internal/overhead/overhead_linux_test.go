//go:build !race

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// controlBinary is the control, built once for all tests.
var controlBinary string

func TestMain(m *testing.M) {
	if os.Getenv("OVERHEAD_PEER") != "" {
		peer(os.Stdin, os.Stdout)
		return
	}
	if os.Getenv("OVERHEAD_SERVER") != "" {
		standIn()
		return
	}
	if os.Getenv("OVERHEAD_MAIN") != "" {
		main()
		return
	}
	os.Exit(withControl(m.Run))
}

// peer is a server that logs to its output, and fails at every second call.
func peer(in io.Reader, out io.Writer) {
	fmt.Fprintln(out, `{"jsonrpc":"2.0","method":"notifications/message"}`)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var m struct {
			ID     int
			Method string
		}
		_ = json.Unmarshal(lines.Bytes(), &m)
		switch result := `{}`; {
		case m.ID == 0:
		case m.Method == "tools/call" && m.ID%2 == 0:
			fmt.Fprintf(out, "this is a log line\n{\"id\":%d,\"result\":{\"isError\":true}}\n", m.ID)
		case m.Method == "tools/call":
			result = fmt.Sprintf(`{"content":[{"type":"text","text":%q}]}`, answer)
			fallthrough
		default:
			fmt.Fprintf(out, "{\"id\":%d,\"result\":%s}\n", m.ID, result)
		}
	}
}

func TestServersOfOthersAreComparedAndTheirFailuresCounted(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	entrants := []entrant{{"one", []string{self}, []string{"OVERHEAD_PEER=1"}, "chat"}, {"two", []string{self}, []string{"OVERHEAD_PEER=1"}, "chat"}}
	var out strings.Builder
	if err := compareWithPeers(t.Context(), entrants, plan{rounds: 1, calls: 10, starts: 1}, &out); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "that failed") {
			failed++
			if !strings.HasSuffix(line, "| 50.0 | 50.0 |\n") {
				t.Errorf("half of the calls failed, and it says %s", line)
			}
		}
	}
	if failed != len(scenes) {
		t.Errorf("failures are told for %d scenes of %d:\n%s", failed, len(scenes), &out)
	}
	if _, err := peersIn(t.TempDir(), []string{"ours"}, t.TempDir()); err != nil && !errors.Is(err, exec.ErrNotFound) {
		t.Error(err)
	}
}

func TestPollingOfManyHostsIsMeasured(t *testing.T) {
	var out strings.Builder
	if err := pollFor(t.Context(), plan{server: []string{controlBinary}, polling: 3}, time.Millisecond, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "polling 3 hosts") || !strings.Contains(out.String(), "% of a core") {
		t.Errorf("it says %s", &out)
	}
}

func TestAnswersThatAreNotSharedFailTheRun(t *testing.T) {
	server := []string{"env", "OVERHEAD_SERVER=" + controlBinary, os.Args[0]} // which stores no answers
	err := measureShared(t.Context(), plan{server: server, rounds: 1, calls: 20}, "redis://127.0.0.1:1", io.Discard)
	if err == nil || !strings.Contains(err.Error(), "the host was asked 400 times, want 160") {
		t.Errorf("got %v", err)
	}
}

func withControl(run func() int) (status int) {
	dir, err := os.MkdirTemp("", "ollama-mcp-overhead-*")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		controlBinary, err = buildControl(context.Background(), dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return run()
}

// against has the controls compete with the command.
func against(command ...string) [contenders][]string {
	return [...][]string{posts: {controlBinary}, streams: {controlBinary, "streams"}, ours: command}
}

func TestEveryCallReachesTheHostAndIsMeasured(t *testing.T) {
	h, err := newHost(2, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	rows, err := measureHost(t.Context(), against(controlBinary), h, []int{1, 8}, 2, 40)
	if err != nil {
		t.Fatal(err)
	}
	const want = contenders * 2 * (1 + 2) * 40 // levels, the warming round and two more
	if got := h.asked.Load(); got != want {
		t.Errorf("the host was asked %d times, want %d", got, want)
	}
	for _, r := range rows {
		if strings.Contains(r.name, "beyond") {
			continue // a difference, which so few calls leave to chance
		}
		for _, who := range servers {
			if len(r.values[who]) == 0 || median(r.values[who]) <= 0 {
				t.Errorf("%s: got %v, want positive numbers", r.name, r.values[who])
			}
		}
	}
}

func TestEveryFigureIsPrintedWithItsRatios(t *testing.T) {
	var out strings.Builder
	if err := compare(t.Context(), against(controlBinary), plan{rounds: 1, calls: 10, starts: 1}, &out); err != nil {
		t.Fatal(err)
	}
	for _, figure := range []string{
		" 1 at a time: processor time", " 8 at a time: processor time", "32 at a time: processor time",
		"a host with 4 slots of 50ms", "64 at a time: processor time",
		"median call", "calls a second", "memory", "start to tools listed", "ours/posts", "ours/streams",
	} {
		if !strings.Contains(out.String(), figure) {
			t.Errorf("no %q in:\n%s", figure, &out)
		}
	}
}

func TestServerThatHangsUpFailsTheRun(t *testing.T) {
	var out strings.Builder
	err := compare(t.Context(), against("sh", "-c", "read request"), plan{rounds: 1, calls: 1, starts: 1}, &out)
	if !errors.Is(err, errHungUp) {
		t.Errorf("got %v, want %v", err, errHungUp)
	}
}

func TestCallWithoutTheHostsAnswerFails(t *testing.T) {
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	p, err := start(t.Context(), []string{controlBinary}, broken.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.call(t.Context()); err == nil || !strings.Contains(err.Error(), "HTTP 404") {
		t.Errorf("got %v, want an error that tells of HTTP 404", err)
	}
}

func TestServerThatWritesNoJSONFailsTheRun(t *testing.T) {
	_, err := start(t.Context(), []string{"sh", "-c", "read request; echo ready"}, "")
	if err == nil || !strings.Contains(err.Error(), `wrote "ready`) {
		t.Errorf("got %v, want an error that shows what was written", err)
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newClient(new(strings.Builder)).call(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestRatioIsTheMedianOverRounds(t *testing.T) {
	var r row
	for _, round := range [][2]float64{{100, 150}, {200, 260}, {100, 900}} {
		r.add(streams, round[0])
		r.add(ours, round[1])
	}
	if got := r.ratio(streams); math.Abs(got-1.5) > 1e-9 {
		t.Errorf("got %v, want 1.5: one disturbed round must not count", got)
	}
}
