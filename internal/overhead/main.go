// Command overhead measures what a call through the server costs:
//
//	go run ./internal/overhead bin/ollama-mcp [flag of the server …]
//
// Beside it stand the least servers that mcp-go allows (folder control), one that posts
// and one that reads a stream as ours does, and a plain post to the host. All of them ask
// the same pretend host, which lives in this process: one that answers at once, for 1, 8
// and 32 callers, and one with four slots of 50 ms, for 64 callers, most of whom wait.
// Each call has a prompt of its own and asks for progress. The contenders take turns,
// round by round, and the medians over the rounds are printed: compare the columns, for
// the numbers themselves depend on the machine. It runs on Linux, which tells the
// processor time of other processes.
//
// Then the server with metrics, traces of one call in a hundred, the call log and the page takes
// turns with the server as it is; with -observed that is all.
//
// Then many callers ask a host that is full, a pretend one and, with -ollama, a
// real one: through one connection, with Go's default client, and through our pool,
// all in this process; a real one also through the control that posts and the server. With
// 100,000 calls of 50 ms on 16 slots that takes some fifteen minutes.
//
// With -redis, a server without Redis is measured, and two replicas that share answers through one.
//
// With -polling, a server without calls is measured that knows how so many pretend hosts are.
//
// With -peers, other MCP servers for Ollama stand beside it instead, as they come from npm, and
// a host that answers every tenth request with 503 is asked too.
//
// With -fronts it prints the tables of docs/performance.md: a full host by one connection, naive
// goroutines, the pool, and the server by MCP and by the gateway, each in a process of its own.
// With -olla, streams through the gateway are measured beside those through thushan/olla and, with
// -ollama, those of a real one too.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	var p plan
	flag.IntVar(&p.rounds, "rounds", 7, "number of `rounds`, in each of which every contender takes a turn")
	flag.IntVar(&p.calls, "calls", 2000, "`calls` in one turn, of all callers together")
	flag.IntVar(&p.starts, "starts", 15, "number of `starts` of each server")
	flag.IntVar(&p.fullCalls, "full-calls", 100_000, "number of `calls` to the host that is full; 0 leaves it out")
	flag.StringVar(&p.ollama, "ollama", "", "`address` of a real Ollama to measure too")
	flag.StringVar(&p.model, "model", "", "`model` to use there")
	flag.StringVar(&p.peers, "peers", "", "`folder` of node_modules with other servers, to be measured instead of the controls")
	flag.BoolVar(&p.observed, "observed", false, "measure nothing but what metrics, traces, the call log and the page cost")
	flag.BoolVar(&p.redis, "redis", false, "measure nothing but what it costs to share answers through Redis")
	flag.IntVar(&p.polling, "polling", 0, "number of `hosts` to poll; then nothing is measured but what that costs a server without calls")
	flag.StringVar(&p.olla, "olla", "", "`program` of thushan/olla, through which streams are measured beside our gateway")
	flag.StringVar(&p.only, "only", "", "`text` in the names of the scenes that -olla plays; all if empty")
	flag.BoolVar(&p.fronts, "fronts", false, "measure a full host by one connection, naive goroutines, the pool, and the server by MCP and by the gateway")
	flag.IntVar(&p.callers, "callers", 500, "number of `callers` for -fronts; 64 at most on a real Ollama")
	flag.StringVar(&p.command, "command", "go run ./internal/overhead -fronts", "`text` that the page names as the command of -fronts")
	front := flag.String("front", "", "`plan` of one of them, which -fronts gives to a process of its own")
	flag.Parse()
	if p.server = flag.Args(); !p.good() {
		fmt.Fprintln(os.Stderr, "usage: overhead [-rounds n] [-calls n] [-starts n] [-full-calls n] [-ollama URL -model NAME | -peers FOLDER | -observed | -redis | -polling n | -fronts | -olla PROGRAM [-only TEXT] [-ollama URL -model NAME]] SERVER [FLAG…]")
		flag.PrintDefaults()
		os.Exit(2)
	}
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		p.progress = os.Stderr
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	measure := func() error { return run(ctx, p, os.Stdout) }
	if *front != "" {
		measure = func() error {
			var f frontPlan
			if err := json.Unmarshal([]byte(*front), &f); err != nil {
				return err
			}
			return f.measure(ctx, p.server, os.Stdout)
		}
	}
	if err := measure(); err != nil {
		fmt.Fprintln(os.Stderr, "overhead:", err)
		os.Exit(1)
	}
}

// plan is what to measure and how often.
type plan struct {
	server                []string // command and arguments
	rounds, calls, starts int

	fullCalls     int    // 0 leaves the full host out
	ollama, model string // empty where there is no real Ollama to ask

	peers    string // node_modules with other servers; empty for none
	observed bool   // only what it costs to be observed is measured

	redis bool // only what it costs to share answers is measured

	polling int    // hosts that are polled, which alone is measured; 0 for none
	olla    string // program of another gateway; empty for none
	only    string // text in the names of the scenes with it
	fronts  bool   // the ways to a full host are measured instead
	callers int    // of them
	command string // that the page names

	progress io.Writer // a terminal; nil for none
}

// ollamaURL is the address of the real Ollama with its scheme.
func (p plan) ollamaURL() string {
	if strings.Contains(p.ollama, "://") {
		return p.ollama
	}
	return "http://" + p.ollama
}

func (p plan) good() bool {
	return len(p.server) > 0 && min(p.rounds, p.calls, p.starts) > 0 && p.fullCalls >= 0 &&
		(p.ollama == "") == (p.model == "")
}

// run measures all that is planned and prints it to w.
func run(ctx context.Context, p plan, w io.Writer) error {
	temp, err := os.MkdirTemp("", "ollama-mcp-overhead-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	if p.peers != "" {
		entrants, err := peersIn(p.peers, p.server, temp)
		if err != nil {
			return err
		}
		return compareWithPeers(ctx, entrants, p, w)
	}
	if p.polling > 0 {
		return pollFor(ctx, p, time.Minute, w)
	}
	if p.olla != "" {
		return compareGateways(ctx, gatewayKinds(p.server, p.olla, temp), p, w)
	}
	if p.fronts {
		program, err := os.Executable()
		if err != nil {
			return err
		}
		return measureFronts(ctx, p, []string{program}, w)
	}
	if p.redis {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends Redis
		url, err := startRedis(ctx, temp)
		if err != nil {
			return err
		}
		return measureShared(ctx, p, url, w)
	}
	if p.observed {
		return measureObserved(ctx, p, temp, w)
	}
	binary, err := buildControl(ctx, temp)
	if err != nil {
		return err
	}
	commands := [contenders][]string{posts: {binary}, streams: {binary, "streams"}, ours: p.server}
	if err := compare(ctx, commands, p, w); err != nil {
		return err
	}
	if err := measureObserved(ctx, p, temp, w); err != nil {
		return err
	}
	if p.fullCalls > 0 {
		full := load{slots: 16, service: 50 * time.Millisecond, callers: 500, calls: p.fullCalls, singlePart: 50, otherPart: 5, rounds: 5}
		if err := measureSlots(ctx, full, w, p.progress); err != nil {
			return err
		}
	}
	if p.ollama != "" {
		// Four slots, as an Ollama with OLLAMA_NUM_PARALLEL=4 has.
		return measureOllama(ctx, load{slots: 4, callers: 64, calls: 6400, singlePart: 10, otherPart: 1, rounds: 10}, commands, p, w)
	}
	return nil
}

// The host that is full: four slots, on which most of 64 callers wait.
const (
	fullSlots   = 4
	fullService = 50 * time.Millisecond
	fullCallers = 64
)

// compare measures as planned and prints the tables to w.
func compare(ctx context.Context, commands [contenders][]string, p plan, w io.Writer) error {
	quick, err := newHost(0, 0)
	if err != nil {
		return err
	}
	defer quick.close()
	full, err := newHost(fullSlots, fullService)
	if err != nil {
		return err
	}
	defer full.close()
	starts, err := measureStarts(ctx, commands, p.starts, quick.url)
	if err != nil {
		return err
	}
	calls, err := measureHost(ctx, commands, quick, []int{1, 8, 32}, p.rounds, p.calls)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "a host that answers at once: medians of %d starts and of %d rounds of %d calls\n\n", p.starts, p.rounds, p.calls)
	printTable(w, append(calls, starts))

	// An eighth of the calls, for they take so long. All callers have to be at work.
	fewer := max(p.calls/8, fullCallers)
	calls, err = measureHost(ctx, commands, full, []int{fullCallers}, p.rounds, fewer)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\na host with %d slots of %v: medians of %d rounds of %d calls\n"+
		"(calls wait in the server's own queue, and for the controls in the host; the one that streams reports progress as the server does)\n\n",
		fullSlots, fullService, p.rounds, fewer)
	printTable(w, calls)
	return nil
}

// buildControl builds the control into dir, as the product is built.
func buildControl(ctx context.Context, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "control")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w",
		"-o", binary, "ollama-mcp/internal/overhead/control")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the control: %w\n%s", err, out)
	}
	return binary, nil
}
