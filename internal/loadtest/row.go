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

// failurePause is how long a caller waits after a failure: an error can come in no
// time, and would be all that is measured.
const failurePause = 100 * time.Millisecond

// run is a run under way.
type run struct {
	Options
	nonce uint32
	asked atomic.Uint64 // questions, over all rows
	line  terminal
	turns int // that there are in all
	begun int // those of them that have begun, or were left out
}

// question is the next one.
func (r *run) question() Question {
	n := r.asked.Add(1) - 1
	model := n % uint64(len(r.Models))
	size := n / uint64(len(r.Models)) % uint64(len(r.PromptTokens))
	return Question{
		Kind: r.Kind, Model: r.Models[model], Tokens: r.OutputTokens,
		Prompt: prompt(r.nonce, n, r.PromptTokens[size]), Asked: time.Now(),
	}
}

func (r *run) warmUp(ctx context.Context) error {
	for _, c := range r.Contestants {
		for _, model := range r.Models {
			r.line.show(fmt.Sprintf("%s: loading %s", c.Name, model))
			q := r.question()
			q.Model = model
			if _, err := c.Ask(ctx, q); err != nil {
				return fmt.Errorf("%s: %s: %w", c.Name, model, err)
			}
		}
	}
	return nil
}

// level has all contestants answer so many callers, in turns.
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

// turn has a contestant answer its callers for a round's share of the time, and
// no more than so many calls where the row has a bound.
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
				r.ask(ctx, t)
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

// ask asks one question and counts what came of it, if anybody still wants to know.
func (r *run) ask(ctx context.Context, t *tally) {
	q := r.question()
	answer, err := t.contestant.Ask(ctx, q)
	took := time.Since(q.Asked)
	switch {
	case err == nil:
		t.answered(took, answer)
	case ctx.Err() == nil:
		t.failed(err)
		select {
		case <-time.After(failurePause):
		case <-ctx.Done():
		}
	}
}
