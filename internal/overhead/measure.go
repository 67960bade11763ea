package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// The contenders.
const (
	plain   = iota // posts to the host, with no server in between
	posts          // the control that posts
	streams        // the control that reads a stream
	ours
	contenders
)

// servers are the contenders that are servers.
var servers = []int{posts, streams, ours}

// A contender answers calls.
type contender interface {
	call(ctx context.Context) error
	used() (time.Duration, error) // processor time of its server so far
}

// measureStarts starts all servers in turn, several times.
func measureStarts(ctx context.Context, commands [contenders][]string, times int, url string) (row, error) {
	ready := row{name: "start to tools listed, ms"}
	for range times {
		for _, who := range servers {
			p, err := start(ctx, commands[who], url)
			if err != nil {
				return row{}, err
			}
			p.close()
			ready.add(who, float64(p.ready)/float64(time.Millisecond))
		}
	}
	return ready, nil
}

// measureHost has all contenders ask one host, with several numbers of callers at a time,
// and adds what memory the servers took by then.
func measureHost(ctx context.Context, commands [contenders][]string, h *host, callers []int, rounds, calls int) ([]row, error) {
	direct := newPost(h)
	defer direct.close()
	field := [contenders]contender{plain: direct}
	running := make(map[int]*process)
	for _, who := range servers {
		server, err := start(ctx, commands[who], h.url)
		if err != nil {
			return nil, err
		}
		defer server.close()
		running[who], field[who] = server, server
	}

	var rows []row
	for _, n := range callers {
		level, err := measureLevel(ctx, field, n, rounds, calls)
		if err != nil {
			return nil, err
		}
		rows = append(rows, level...)
	}
	memory := row{name: "memory, at most, MB"}
	for who, server := range running {
		peak, err := server.peak()
		if err != nil {
			return nil, err
		}
		memory.add(who, float64(peak)/1e6)
	}
	return append(rows, memory), nil
}

// measureLevel plays the rounds of one number of callers. The order within a
// round is drawn anew, and one round more, not counted, warms up.
func measureLevel(ctx context.Context, field [contenders]contender, callers, rounds, calls int) ([]row, error) {
	processor := newRow("processor time a call, µs", callers)
	added := newRow("median call beyond a plain post, µs", callers)
	rate := newRow("calls a second", callers)
	for i := range 1 + rounds {
		var turns [contenders]turn
		for _, who := range rand.Perm(contenders) {
			var err error
			if turns[who], err = takeTurn(ctx, field[who], callers, calls); err != nil {
				return nil, err
			}
		}
		if i == 0 {
			continue
		}
		for who, t := range turns {
			rate.add(who, t.rate)
			if who != plain {
				processor.add(who, micros(t.processor))
				added.add(who, micros(t.median-turns[plain].median))
			}
		}
	}
	return []row{processor, added, rate}, nil
}

// turn is what one contender did in one round.
type turn struct {
	processor time.Duration // spent by its server on one call, on average
	median    time.Duration // of the time that a call took
	p99       time.Duration // the same
	rate      float64       // calls a second
}

// takeTurn makes calls, each caller the next as soon as it has its answer.
func takeTurn(ctx context.Context, c contender, callers, calls int) (turn, error) {
	before, err := c.used()
	if err != nil {
		return turn{}, err
	}
	took := make([]time.Duration, calls)
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	begun := time.Now()
	for range callers {
		group.Go(func() error {
			for i := next.Add(1) - 1; i < int64(calls); i = next.Add(1) - 1 {
				sent := time.Now()
				if err := c.call(ctx); err != nil {
					return err
				}
				took[i] = time.Since(sent)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return turn{}, err
	}
	elapsed := time.Since(begun)
	after, err := c.used()
	if err != nil {
		return turn{}, err
	}
	slices.Sort(took)
	return turn{
		processor: (after - before) / time.Duration(calls),
		median:    took[calls/2],
		p99:       took[calls*99/100],
		rate:      float64(calls) / elapsed.Seconds(),
	}, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
