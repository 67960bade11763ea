package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/internal/loadtest"
)

// This file measures the ways to many answers that people know: one connection, a goroutine for
// each call, the pool, and the whole server by MCP and by the gateway. Each runs in a process of
// its own, so that its processor time and memory are known, and the host in another.

// The fronts. The first three are clients, whose program makes the calls itself.
const (
	frontOne     = "one connection"
	frontNaive   = "naive goroutines"
	frontPool    = "pool"
	frontMCP     = "server, by MCP"
	frontGateway = "server, by the gateway"
)

var fronts = []string{frontOne, frontNaive, frontPool, frontMCP, frontGateway}

// frontPlan is what one front is measured with.
type frontPlan struct {
	Front, URL, Model string
	Slots             int // of the host
	Callers, Calls    int
}

// frontResult is what was measured of one front.
type frontResult struct {
	Row         loadtest.Row
	Processor   time.Duration // of all calls
	Memory      int64         // at most, in bytes
	Connections int64         // that the host saw; -1 if nobody counts
}

// meter tells what a program has used.
type meter interface {
	used() (time.Duration, error)
	peak() (int64, error)
}

// self is this program.
type self struct{}

func (self) used() (time.Duration, error) { return usedBy(os.Getpid()) }
func (self) peak() (int64, error)         { return peakOf(os.Getpid()) }

// begin prepares the calls of a front.
func (f frontPlan) begin(ctx context.Context, server []string) (c loadtest.Contestant, m meter, end func(), err error) {
	// Room for all callers, of whom one connection carries all by MCP.
	command := append(append([]string{}, server...), fmt.Sprintf("--slots=%d", f.Slots), fmt.Sprintf("--queue=%d", 2*f.Callers))
	switch f.Front {
	case frontOne, frontNaive:
		both, end := loadtest.Direct(loadtest.Target{URL: f.URL})
		c = both[oneConnection]
		if f.Front == frontNaive {
			c = both[defaultClient]
		}
		return c, self{}, end, nil
	case frontPool:
		c, end, err = contest{load{callers: f.Callers}, f.URL, f.Model}.pool(f.Front, f.Slots)
		return c, self{}, end, err
	case frontMCP:
		p, err := start(ctx, command, f.URL)
		if err != nil {
			return c, nil, nil, err
		}
		return loadtest.Contestant{Do: p.ask}, p, p.close, nil
	case frontGateway:
		s, err := serveGateway(ctx, command, f.URL)
		if err != nil {
			return c, nil, nil, err
		}
		c, end := loadtest.Keeping(f.Callers, loadtest.Target{URL: s.url})
		return c, s, func() { end(); s.close() }, nil
	}
	return c, nil, nil, fmt.Errorf("no front is called %q", f.Front)
}

// measureFront measures a front in this process, and writes the result as JSON.
func (f frontPlan) measure(ctx context.Context, server []string, w io.Writer) error {
	c, m, end, err := f.begin(ctx, server)
	if err != nil {
		return err
	}
	defer end()
	c.Name = f.Front
	before, err := m.used()
	if err != nil {
		return err
	}
	report, err := loadtest.Measure(ctx, loadtest.Options{
		Contestants: []loadtest.Contestant{c}, Models: []string{f.Model}, PromptTokens: []int{16}, Callers: []int{f.Callers}, Calls: f.Calls,
	})
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	result := frontResult{Row: report.Rows[0], Connections: -1}
	after, err := m.used()
	if err != nil {
		return err
	}
	result.Processor = after - before
	if result.Memory, err = m.peak(); err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(result)
}

// run has another process of this program measure a front. h is the host if it is ours.
func (f frontPlan) run(ctx context.Context, program, server []string, h *host) (result frontResult, err error) {
	plan, err := json.Marshal(f)
	if err != nil {
		return result, err
	}
	var opened int64
	if h != nil {
		opened = h.opened.Load()
	}
	cmd := exec.CommandContext(ctx, program[0], append(append(program[1:], "-front", string(plan)), server...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return result, fmt.Errorf("%s: %w\n%s", f.Front, err, &stderr)
	}
	if err := json.Unmarshal(out, &result); err != nil {
		return result, fmt.Errorf("%s: %w: %.200s", f.Front, err, out)
	}
	switch {
	case h != nil:
		result.Connections = h.opened.Load() - opened
	case result.Row.Opened != nil && f.Front != frontGateway:
		result.Connections = int64(*result.Row.Opened)
	}
	return result, nil
}

// measureFronts prints the tables for people to paste into a page.
func measureFronts(ctx context.Context, p plan, program []string, w io.Writer) error {
	fmt.Fprintf(w, "%s, on %s, with `%s`.\n", time.Now().Format("2 January 2006"), machine(), p.command)
	h, err := newHost(16, 50*time.Millisecond)
	if err != nil {
		return err
	}
	defer h.close()
	fake := frontPlan{URL: h.url, Model: model, Slots: 16, Callers: p.callers, Calls: p.fullCalls}
	fmt.Fprintf(w, "\n%d callers and %d requests on a pretend host with %d slots of %v:\n\n", fake.Callers, fake.Calls, fake.Slots, h.service)
	if err := fake.table(ctx, p.server, program, h, w); err != nil {
		return err
	}
	if p.ollama != "" {
		real := frontPlan{URL: p.ollamaURL(), Model: p.model, Slots: 4, Callers: min(64, p.callers), Calls: min(6400, p.fullCalls)}
		fmt.Fprintf(w, "\n%d callers and %d requests on a real Ollama with %d slots and a tiny model:\n\n", real.Callers, real.Calls, real.Slots)
		if err := real.table(ctx, p.server, program, nil, w); err != nil {
			return err
		}
	}
	return measureHits(ctx, p.server, min(2000, p.fullCalls), w)
}

// table measures all fronts and prints a row for each.
func (f frontPlan) table(ctx context.Context, server, program []string, h *host, w io.Writer) error {
	fmt.Fprint(w, "| | requests | mean | p50 | p95 | p99 | requests/s | errors | connections | processor time a call | memory |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	results := make(map[string]frontResult)
	for _, one := range fronts {
		f := f
		if f.Front = one; one == frontOne {
			f.Calls = max(1, f.Calls/50) // it is slow
		}
		got, err := f.run(ctx, program, server, h)
		if err != nil {
			return err
		}
		results[one] = got
		row, l, connections := got.Row, got.Row.Latency, "–"
		if got.Connections >= 0 {
			connections = strconv.FormatInt(got.Connections, 10)
		}
		fmt.Fprintf(w, "| %s | %d | %s | %s | %s | %s | %.1f | %d | %s | %.0f µs | %.0f MB |\n", one, row.Answered+row.Failed,
			milliseconds(l.Mean), milliseconds(l.P50), milliseconds(l.P95), milliseconds(l.P99), row.Requests, row.Failed, connections,
			micros(got.Processor)/float64(max(1, row.Answered+row.Failed)), float64(got.Memory)/1e6)
	}
	for _, one := range fronts {
		for code, failed := range results[one].Row.Errors {
			fmt.Fprintf(w, "\nOf the calls by %s %d failed with %s: %s\n", one, failed.Count, code, failed.Example)
		}
	}
	naive, pool := results[frontNaive].Row, results[frontPool].Row
	fmt.Fprintf(w, "\nThe pool makes %.2f of the rate of naive goroutines, with %.2f of their p99.", pool.Requests/naive.Requests, pool.Latency.P99/naive.Latency.P99)
	if pool.Requests < 1.02*naive.Requests && pool.Latency.P99 > 0.98*naive.Latency.P99 && pool.Failed >= naive.Failed {
		fmt.Fprint(w, " It gains nothing here: one host that is full answers no faster by it.")
	}
	fmt.Fprint(w, " Processor time and memory of the first three are those of the program that makes the calls, and of the others those of the server.\n")
	return nil
}

func milliseconds(ms float64) string {
	if ms >= 1000 {
		return fmt.Sprintf("%.2f s", ms/1000)
	}
	return fmt.Sprintf("%.1f ms", ms)
}

// measureHits tells how many answers come from the cache on a workload with questions that are
// asked as often as words are used.
func measureHits(ctx context.Context, server []string, calls int, w io.Writer) error {
	const callers, questions, exponent = 16, 500, 1.1
	h, err := newHost(0, 5*time.Millisecond)
	if err != nil {
		return err
	}
	defer h.close()
	s, err := serveGateway(ctx, server, h.url)
	if err != nil {
		return err
	}
	defer s.close()
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 1)), exponent, 1, questions-1)
	asked := make(chan uint64)
	client := http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	var failed atomic.Int64
	for range callers {
		all.Go(func() {
			for question := range asked {
				body := fmt.Sprintf(`{"model":%q,"prompt":"question %d","stream":false}`, model, question)
				resp, err := client.Post(s.url+"/api/generate", "application/json", strings.NewReader(body))
				if err != nil {
					failed.Add(1)
					continue
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
					failed.Add(1)
				}
				_ = resp.Body.Close()
			}
		})
	}
	for range calls {
		asked <- zipf.Uint64()
	}
	close(asked)
	all.Wait()
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("%d of %d calls for the cache failed", n, calls)
	}
	fmt.Fprintf(w, "\nCache: of %d calls by %d callers for %d questions, drawn by Zipf's law with the exponent %v, %.1f %% were answered without the host.\n",
		calls, callers, questions, exponent, 100*(1-float64(h.asked.Load())/float64(calls)))
	return nil
}

// machine describes this one.
func machine() string {
	name := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(text), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			name = strings.Trim(line, " \t:")
		}
	}
	load := "unknown"
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(text), " ")
	}
	return fmt.Sprintf("%s with %d processors and a load of %s before, %s", name, runtime.NumCPU(), load, runtime.Version())
}
