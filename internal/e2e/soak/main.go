// Command soak keeps the program at work while all around it goes wrong, and finds out
// whether anybody was answered wrongly, twice, late or not at all, and whether anything is
// left of it.
//
//	go run ./soak -bin PATH_OF_OLLAMA_MCP -duration 1h -seed 1
//
// Three real Ollamas stand behind proxies, and callers call over stdio, HTTP, SSE and the gateway at once.
// The seed decides which calls are made and what goes wrong in which order; how they meet
// depends on the machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	bin := flag.String("bin", "ollama-mcp", "the ollama-mcp `program` to test")
	duration := flag.Duration("duration", time.Hour, "how long things go wrong")
	seed := flag.Uint64("seed", 0, "repeats the calls and faults of a run; 0 = drawn by chance")
	callers := flag.Int("callers", 48, "how many call, beside an honest one that is measured")
	most := flag.Duration("pause", 2*time.Second, "the longest pause of a caller between two calls")
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano() % 1e9)
	}
	fmt.Printf("soak: %v with seed %d; SEED=%d repeats it\n", *duration, *seed, *seed)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	s, err := newSoak(ctx, *bin, *seed, *callers, *most)
	if err == nil {
		err = s.run(ctx, *duration)
	}
	s.close()
	stop()
	fmt.Printf("processor time: %v by the callers, %v by the programs and hosts\n", processorTime(syscall.RUSAGE_SELF), processorTime(syscall.RUSAGE_CHILDREN))
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// processorTime is the processor time of this process, or of those that it has started and that have ended.
func processorTime(who int) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(who, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Round(time.Second)
}
