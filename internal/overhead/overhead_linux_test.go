package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// controlBinary is the control, built once for all tests.
var controlBinary string

func TestMain(m *testing.M) { os.Exit(withControl(m.Run)) }

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
