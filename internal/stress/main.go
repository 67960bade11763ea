// Command stress runs tests several times, the last times on a machine whose processors
// are busy, and prints which of them failed how often.
//
//	stress [-runs 10] [-loaded 1] [-loops 2] go test -json -count=1 ./...
//
// The command it is given must print the events of "go test -json". A test that fails in
// any run makes stress fail too. It prints the output of a test's first failure only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// options say what to run, and how often.
type options struct {
	runs   int      // runs without busy loops
	loaded int      // runs beside busy loops, which follow
	loops  int      // busy loops, each of which keeps a processor busy
	args   []string // the command
}

func main() {
	var o options
	flag.IntVar(&o.runs, "runs", 10, "run the tests `n` times")
	flag.IntVar(&o.loaded, "loaded", 1, "and `n` times more beside busy loops")
	flag.IntVar(&o.loops, "loops", 2, "the `number` of these loops")
	flag.Parse()
	o.args = flag.Args()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := stress(ctx, os.Stdout, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "stress:", err)
		os.Exit(1)
	}
}

// stress makes all runs, also when some of them fail, and then prints the failures.
func stress(ctx context.Context, out io.Writer, o options) error {
	if len(o.args) == 0 || o.runs+o.loaded < 1 {
		return errors.New("usage: stress [-runs N] [-loaded N] [-loops N] go test -json -count=1 PACKAGE…")
	}
	all := make(tally)
	for n := range o.runs + o.loaded {
		loops, name := 0, fmt.Sprintf("run %d of %d", n+1, o.runs+o.loaded)
		if n >= o.runs {
			loops = o.loops
			name = fmt.Sprintf("%s, beside %d busy loops", name, loops)
		}
		began := time.Now()
		stop := keepBusy(loops)
		failures, err := run(ctx, o.args)
		stop()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %d failed, %s\n", name, len(failures), time.Since(began).Round(time.Second))
		all.add(out, failures)
	}
	if len(all) == 0 {
		return nil
	}
	all.print(out, o.runs+o.loaded)
	return errors.New("tests failed")
}

// run runs the command once. That tests fail is no error of it.
func run(ctx context.Context, args []string) ([]failure, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that go test ends its own children
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	failures, err := readEvents(events)
	ended := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	case ended != nil && len(failures) == 0:
		return nil, fmt.Errorf("%s reported no failed test: %w", args[0], ended)
	}
	return failures, nil
}

// keepBusy starts loops that do nothing, each on a processor of its own if there are so
// many. They end with stop.
func keepBusy(loops int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for range loops {
		running.Go(func() {
			for ctx.Err() == nil {
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
	}
}
