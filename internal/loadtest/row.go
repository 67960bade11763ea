package loadtest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// failurePause is how long a caller waits after a failure. Without it a contestant that
// fails at once would fail thousands of times a second.
const failurePause = 100 * time.Millisecond

// run is a run under way.
type run struct {
	Options
	nonce uint32
	made  atomic.Uint64 // requests, over all rows
	line  liveLine
	turns int // in the whole run
	begun int // turns that have begun, or were left out
}

// next is the next request, with the next model and prompt size.
func (r *run) next() Request {
	n := r.made.Add(1) - 1
	model := n % uint64(len(r.Models))
	size := n / uint64(len(r.Models)) % uint64(len(r.PromptTokens))
	return Request{
		Kind: r.Kind, Model: r.Models[model], Tokens: r.OutputTokens,
		Prompt: prompt(r.nonce, n, r.PromptTokens[size]), Began: time.Now(),
	}
}

func (r *run) warmUp(ctx context.Context) error {
	for _, c := range r.Contestants {
		for _, model := range r.Models {
			r.line.show(fmt.Sprintf("%s: loading %s", c.Name, model))
			q := r.next()
			q.Model = model
			if _, err := c.Do(ctx, q); err != nil {
				return fmt.Errorf("%s: %s: %w", c.Name, model, err)
			}
		}
	}
	return nil
}

// level measures all contestants with a number of callers, in turns.
func (r *run) level(ctx context.Context, callers int) []*tally {
	tallies := make([]*tally, len(r.Contestants))
	for i, c := range r.Contestants {
		tallies[i] = &tally{
			contestant: c, callers: callers, calls: cmp.Or(c.Calls, r.Calls),
			code: r.Code, errors: make(map[string]*Failure),
		}
	}
	for round := range r.Rounds {
		for _, i := range rand.Perm(len(tallies)) {
			t := tallies[i]
			r.begun++
			switch few := t.contestant.Calls > 0 && t.calls < callers*r.Rounds; {
			case ctx.Err() != nil:
				return tallies
			case !few:
				r.turn(ctx, t, share(t.calls, r.Rounds, round))
			case round == 0: // in each round some callers would have none
				r.turn(ctx, t, t.calls)
			}
		}
	}
	return tallies
}

// share is the part of the calls that falls to a round.
func share(calls, rounds, round int) int {
	return calls*(round+1)/rounds - calls*round/rounds
}

// turn measures a contestant for one round's share of the row's duration, and with at most
// a number of calls if the row has such a bound.
func (r *run) turn(ctx context.Context, t *tally, calls int) {
	limit := r.Duration / time.Duration(r.Rounds)
	answered, _ := t.counts()
	opened, began := t.contestant.opened(), time.Now()
	done := r.watch(t, began)

	var begun atomic.Int64
	more := func() bool {
		return ctx.Err() == nil && (limit == 0 || time.Since(began) < limit) &&
			(t.calls == 0 || begun.Add(1) <= int64(calls))
	}
	var all sync.WaitGroup
	for range t.callers {
		all.Go(func() {
			for more() {
				r.call(ctx, t)
			}
		})
	}
	all.Wait()
	done()
	took := time.Since(began)
	t.elapsed += took
	t.opened += t.contestant.opened() - opened
	after, _ := t.counts()
	t.turns = append(t.turns, float64(after-answered)/took.Seconds())
}

func (c Contestant) opened() int {
	if c.Opened == nil {
		return 0
	}
	return c.Opened()
}

// call makes one call and counts its outcome, unless the run has been stopped meanwhile.
func (r *run) call(ctx context.Context, t *tally) {
	q := r.next()
	result, err := t.contestant.Do(ctx, q)
	took := time.Since(q.Began)
	switch {
	case err == nil:
		t.answered(took, result)
	case ctx.Err() == nil:
		t.failed(err)
		select {
		case <-time.After(failurePause):
		case <-ctx.Done():
		}
	}
}
