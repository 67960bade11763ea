package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// An entrant is a server that is compared with others, as it comes.
type entrant struct {
	name    string
	command []string
	env     []string
	tool    string // that asks for the next message of a conversation
}

// peersIn are our server and the others, which are installed in a folder of npm. They may write
// to a folder of their own.
func peersIn(modules string, server []string, temp string) ([]entrant, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, err
	}
	env := []string{"HOME=" + temp, "PATH=" + filepath.Dir(node)}
	program := func(name string) []string { return []string{node, filepath.Join(modules, name, "dist/index.js")} }
	return []entrant{
		{"ours", server, nil, "chat"},
		{"ollama-mcp (npm)", program("ollama-mcp"), env, "ollama_chat"},
		{"ollama-intern-mcp", program("ollama-intern-mcp"), env, "ollama_chat"},
	}, nil
}

// rival is a running entrant. Calls that fail are counted, and do not end the run.
type rival struct {
	*process
	tool   string
	failed atomic.Int64
}

// call asks for the next message of a conversation that nobody else has had.
func (r *rival) call(ctx context.Context) error {
	n := r.calls.Add(1)
	got, err := r.request(ctx, "tools/call", fmt.Sprintf(
		`{"name":%q,"arguments":{"model":%q,"messages":[{"role":"user","content":"%s (%d)"}]}}`, r.tool, model, prompt, n))
	if ctx.Err() != nil || r.hasEnded() {
		return err
	}
	if err != nil || !bytes.Contains(got, []byte(answer)) {
		r.failed.Add(1)
	}
	return nil
}

func (r *rival) hasEnded() bool {
	select {
	case <-r.heard:
		return true
	default:
		return false
	}
}

// scene is what a host is like, and how many ask it at a time.
type scene struct {
	name    string
	callers int
	slots   int
	service time.Duration
	fault   int64
	share   int // of the planned calls, one in so many is made; 0 for all

	// Of streams:
	real   bool // from a real Ollama and not from a pretend host
	tokens int  // of the prompt; 0 for a short one
}

var scenes = []scene{
	{name: "1 caller", callers: 1},
	{name: "8 callers", callers: 8},
	{name: "32 callers", callers: 32},
	{name: "64 callers, four slots of 50 ms", callers: fullCallers, slots: fullSlots, service: fullService, share: 8},
	{name: "8 callers, every tenth request fails", callers: 8, fault: 10},
}

// calls returns how many are made in a round.
func (s scene) calls(p plan) int { return max(p.calls/max(1, s.share), s.callers) }

// figures are what one entrant did in one scene, one value for each round.
type figures struct {
	added, processor, rate []float64
	calls, failed          int64
}

// compareWithPeers has all entrants play all scenes and prints a table in Markdown to w.
func compareWithPeers(ctx context.Context, entrants []entrant, p plan, w io.Writer) error {
	fmt.Fprintf(w, "%s, on %s, with `make bench-peers`; medians of %d rounds of %d calls.\n\n| |", time.Now().Format("2 January 2006"), machine(), p.rounds, p.calls)
	for _, e := range entrants {
		fmt.Fprintf(w, " %s |", e.name)
	}
	fmt.Fprintf(w, "\n|---|%s\n", strings.Repeat("---:|", len(entrants)))
	memory := make([]int64, len(entrants))
	for _, s := range scenes {
		got, peaks, err := s.play(ctx, entrants, p)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		print := func(what string, value func(figures) string) {
			fmt.Fprintf(w, "| %s: %s |", s.name, what)
			for _, f := range got {
				fmt.Fprintf(w, " %s |", value(f))
			}
			fmt.Fprintln(w)
		}
		print("added time, median, µs", func(f figures) string { return fmt.Sprintf("%.0f", median(f.added)) })
		print("processor time a call, µs", func(f figures) string { return fmt.Sprintf("%.0f", median(f.processor)) })
		print("calls a second", func(f figures) string { return fmt.Sprintf("%.0f", median(f.rate)) })
		print("calls that failed, %", func(f figures) string { return fmt.Sprintf("%.1f", 100*float64(f.failed)/float64(f.calls)) })
		for i, peak := range peaks {
			memory[i] = max(memory[i], peak)
		}
	}
	fmt.Fprint(w, "| memory, at most, MB |")
	for _, peak := range memory {
		fmt.Fprintf(w, " %.0f |", float64(peak)/1e6)
	}
	fmt.Fprint(w, "\n| start to tools listed, ms |")
	for _, e := range entrants {
		ready, err := e.startTimes(ctx, p.starts)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, " %.0f |", median(ready))
	}
	fmt.Fprintln(w)
	return nil
}

// startTimes starts a server several times. Each value is in milliseconds.
func (e entrant) startTimes(ctx context.Context, times int) (ready []float64, err error) {
	h, err := newHost(0, 0)
	if err != nil {
		return nil, err
	}
	defer h.close()
	for range times {
		p, err := start(ctx, e.command, h.url, e.env...)
		if err != nil {
			return nil, err
		}
		p.close()
		ready = append(ready, float64(p.ready)/float64(time.Millisecond))
	}
	return ready, nil
}

// play has the entrants take turns at asking a host of their own, and plain posts beside them.
// The order within a round is drawn anew, and one round more, not counted, warms up.
func (s scene) play(ctx context.Context, entrants []entrant, p plan) (got []figures, peaks []int64, err error) {
	field := make([]*rival, len(entrants))
	for i, e := range entrants {
		h, err := s.host()
		if err != nil {
			return nil, nil, err
		}
		defer h.close()
		server, err := start(ctx, e.command, h.url, e.env...)
		if err != nil {
			return nil, nil, err
		}
		defer server.close()
		server.lenient.Store(true) // one of them logs to its output when a host fails
		field[i] = &rival{process: server, tool: e.tool}
	}
	bare := s
	bare.fault = 0
	h, err := bare.host()
	if err != nil {
		return nil, nil, err
	}
	defer h.close()
	direct := newPost(h)
	defer direct.close()

	got = make([]figures, len(entrants))
	calls := s.calls(p)
	for round := range 1 + p.rounds {
		base, err := takeTurn(ctx, direct, s.callers, calls)
		if err != nil {
			return nil, nil, err
		}
		for _, i := range rand.Perm(len(field)) {
			failed := field[i].failed.Load()
			t, err := takeTurn(ctx, field[i], s.callers, calls)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", entrants[i].name, err)
			}
			if round == 0 {
				continue
			}
			f := &got[i]
			f.added, f.processor, f.rate = append(f.added, micros(t.median-base.median)), append(f.processor, micros(t.processor)), append(f.rate, t.rate)
			f.calls, f.failed = f.calls+int64(calls), f.failed+field[i].failed.Load()-failed
		}
	}
	for i, r := range field {
		peak, err := r.peak()
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w\n%s", entrants[i].name, err, strings.TrimSpace(r.stderr.String()))
		}
		peaks = append(peaks, peak)
	}
	return got, peaks, nil
}

func (s scene) host() (*host, error) {
	h, err := newHost(s.slots, s.service)
	if err == nil {
		h.fault = s.fault
	}
	return h, err
}
