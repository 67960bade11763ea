// Command bench measures what a call through the server costs:
//
//	go run ./internal/bench bin/ollama-mcp [flag of the server …]
//
// Beside it stand the least server that mcp-go allows (folder control) and a
// plain post to the host. All three ask the same pretend host, which lives in
// this process and answers at once, so what is measured is the way there and
// back. They take turns, round by round, and what is printed are medians over
// the rounds: compare the columns, for the numbers themselves belong to the
// machine. It runs on Linux, which tells the processor time of other processes.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
)

func main() {
	var p plan
	flag.IntVar(&p.rounds, "rounds", 7, "`turns` that each takes")
	flag.IntVar(&p.calls, "calls", 2000, "`calls` in one turn, shared by its callers")
	flag.IntVar(&p.starts, "starts", 15, "`times` that each server is started")
	flag.Parse()
	if p.server = flag.Args(); len(p.server) == 0 || min(p.rounds, p.calls, p.starts) < 1 {
		fmt.Fprintln(os.Stderr, "usage: bench [-rounds n] [-calls n] [-starts n] SERVER [FLAG…], each n at least 1")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, p, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// plan is what to measure and how often.
type plan struct {
	server                []string // command and arguments
	rounds, calls, starts int
}

// run builds the control and compares the server with it.
func run(ctx context.Context, p plan, w io.Writer) error {
	temp, err := os.MkdirTemp("", "ollama-mcp-bench-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	binary, err := buildControl(ctx, temp)
	if err != nil {
		return err
	}
	return compare(ctx, [...][]string{control: {binary}, ours: p.server}, p, w)
}

// compare measures as planned and prints the table to w.
func compare(ctx context.Context, commands [contenders][]string, p plan, w io.Writer) error {
	h, err := newHost()
	if err != nil {
		return err
	}
	defer h.close()
	starts, err := measureStarts(ctx, commands, p.starts, h.url)
	if err != nil {
		return err
	}
	calls, err := measureCalls(ctx, commands, p, h)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "medians of %d starts and of %d rounds of %d calls\n\n", p.starts, p.rounds, p.calls)
	printTable(w, append(calls, starts))
	return nil
}

// buildControl builds the control into dir, as the product is built.
func buildControl(ctx context.Context, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "control")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w",
		"-o", binary, "ollama-mcp/internal/bench/control")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the control: %w\n%s", err, out)
	}
	return binary, nil
}
