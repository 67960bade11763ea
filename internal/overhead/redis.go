package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"time"
)

// startRedis runs a Redis that keeps its files in dir until ctx ends.
func startRedis(ctx context.Context, dir string) (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	address := l.Addr().String()
	_ = l.Close() // Redis takes no listener that is open
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.CommandContext(ctx, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir)
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start Redis, which is in Debian's package redis-server: %w", err)
	}
	go func() { _ = cmd.Wait() }() // it ends with ctx
	for range 300 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return "redis://" + address, conn.Close()
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return "", errors.New("the Redis that was started does not accept connections")
}

// measureShared measures what sharing answers through Redis costs a call that finds none, and how long
// a call takes that finds one there. Three servers ask a pretend host in turns: one without Redis, and two
// replicas that share the one at url, of which the second makes the calls of the first again.
func measureShared(ctx context.Context, p plan, url string, w io.Writer) error {
	h, err := newHost(0, 0)
	if err != nil {
		return err
	}
	defer h.close()
	var servers [3]*process
	for i, args := range [][]string{nil, {"--redis=" + url}, {"--redis=" + url}} {
		if servers[i], err = start(ctx, slices.Concat(p.server, args), h.url); err != nil {
			return err
		}
		defer servers[i].close()
	}
	alone, first, second := servers[0], servers[1], servers[2]

	fmt.Fprintf(w, "%s, on %s\n", time.Now().Format("2 January 2006"), machine())
	levels := []int{1, 8}
	for _, callers := range levels {
		rows := []*sharedRow{
			{name: "no Redis: answered by the host", server: alone},
			{name: "no Redis: answered from memory", server: alone, again: true},
			{name: "Redis: answered by the host", server: first},
			{name: "Redis: answered from memory", server: first, again: true},
			{name: "Redis: answered from what another replica stored", server: second},
		}
		if err := takeTurns(ctx, rows, callers, p); err != nil {
			return err
		}
		printShared(w, rows, callers, p)
	}
	if asked, want := h.asked.Load(), int64(2*len(levels)*(1+p.rounds)*p.calls); asked > want+want/100 {
		return fmt.Errorf("the host was asked %d times, want %d: answers were not shared", asked, want)
	}
	return nil
}

// sharedRow is what calls of a server do.
type sharedRow struct {
	name   string
	server *process
	again  bool // the calls of the turn before
	turns  []turn
}

// takeTurns has callers make the calls of all rows, round by round.
func takeTurns(ctx context.Context, rows []*sharedRow, callers int, p plan) error {
	for i := range 1 + p.rounds {
		for _, r := range rows {
			if r.again {
				r.server.calls.Add(-int64(p.calls))
			}
			t, err := takeTurn(ctx, r.server, callers, p.calls)
			if err != nil {
				return err
			}
			if i > 0 { // the first warms up
				r.turns = append(r.turns, t)
			}
		}
	}
	return nil
}

func printShared(w io.Writer, rows []*sharedRow, callers int, p plan) {
	fmt.Fprintf(w, "\n%d at a time: medians of %d rounds of %d calls\n\n", callers, p.rounds, p.calls)
	const cells = "%-50s%12s%12s%22s\n"
	fmt.Fprintf(w, cells, "", "p50, ms", "p99, ms", "processor time, µs")
	for _, r := range rows {
		of := func(figure func(turn) time.Duration, unit time.Duration) float64 {
			var all []float64
			for _, t := range r.turns {
				all = append(all, float64(figure(t))/float64(unit))
			}
			return median(all)
		}
		fmt.Fprintf(w, cells, r.name,
			fmt.Sprintf("%.2f", of(func(t turn) time.Duration { return t.median }, time.Millisecond)),
			fmt.Sprintf("%.2f", of(func(t turn) time.Duration { return t.p99 }, time.Millisecond)),
			fmt.Sprintf("%.0f", of(func(t turn) time.Duration { return t.processor }, time.Microsecond)))
	}
}
