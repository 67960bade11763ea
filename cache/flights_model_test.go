package cache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/cache"
)

// TestFlightsDoAsTheirModel has callers come and leave and fills end, fail and
// panic in any order, and holds after each step who has got what.
func TestFlightsDoAsTheirModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var failed any
		synctest.Test(t, func(*testing.T) {
			m := new(model)
			defer func() {
				failed = recover() // rapid ends a check by a panic, and wants it on its own goroutine
				m.flights.Close()
				for _, cancel := range m.cancels {
					cancel()
				}
			}()
			m.run(r)
		})
		if failed != nil {
			panic(failed)
		}
	})
}

func (m *model) run(r *rapid.T) {
	r.Repeat(map[string]func(*rapid.T){
		"come":  m.come,
		"leave": m.leave,
		"limit": m.limit,
		"end":   m.end,
		"":      m.check,
	})
	m.flights.Close()
	for _, fl := range m.inFlight {
		m.settle(fl, "", cache.ErrClosed)
	}
	m.inFlight = nil
	synctest.Wait()
	m.check(r)
}

type model struct {
	flights  flights
	inFlight []*modelFlight // in the order in which they began
	fills    int            // begun so far
	calls    int            // made so far
	ended    []*waiting     // whose Do must have returned
	cancels  []context.CancelFunc
}

type modelFlight struct {
	key     string
	begun   int                                   // the number of the fill, from 1, which is its progress too
	end     chan func() (value string, err error) // how the fill ends
	ctx     context.Context
	all     cache.Waiters
	longest time.Duration // that a call may have which joins; 0 for any
	waiting []*waiting
}

// waiting is a caller, and what should come of it.
type waiting struct {
	*caller
	deadline time.Time // zero for none
	follows  int       // the progress that it should follow
	want     outcome
}

var errBroken = errors.New("broken")

func (m *model) come(r *rapid.T) {
	key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "key")
	limit := time.Duration(rapid.IntRange(0, 3).Draw(r, "hours")) * time.Hour // never reached: the test's clock stands still
	i := slices.IndexFunc(m.inFlight, func(fl *modelFlight) bool {
		return fl.key == key && (fl.longest == 0 || 0 < limit && limit <= fl.longest)
	})
	joins := i >= 0
	if !joins {
		m.fills++
		i = len(m.inFlight)
		m.inFlight = append(m.inFlight, &modelFlight{key: key, begun: m.fills, end: make(chan func() (string, error))})
	}
	fl := m.inFlight[i]
	m.calls++
	ctx, w := context.Background(), &waiting{want: outcome{shared: joins}, follows: fl.begun}
	if limit > 0 {
		w.deadline = time.Now().Add(limit)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, w.deadline)
		m.cancels = append(m.cancels, cancel)
	}
	progress := fl.begun
	if joins {
		progress = -m.calls // its own, which nothing follows
	}
	w.caller = callWith(&m.flights, ctx, key, progress, func(ctx context.Context, all cache.Waiters) (string, error) {
		if joins {
			return "", fmt.Errorf("a fill was begun for %s while one was in flight that the call may join", key)
		}
		fl.ctx, fl.all = ctx, all
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case end := <-fl.end:
			return end()
		}
	})
	fl.waiting = append(fl.waiting, w)
}

func (m *model) leave(r *rapid.T) {
	fl := m.any(r)
	i := rapid.IntRange(0, len(fl.waiting)-1).Draw(r, "waiter")
	w := fl.waiting[i]
	fl.waiting = slices.Delete(fl.waiting, i, i+1)
	w.leave()
	w.want.err = context.Canceled
	m.ended = append(m.ended, w)
	if len(fl.waiting) == 0 {
		m.retire(fl)
	}
	synctest.Wait()
	if over := fl.ctx.Err() != nil; over != (len(fl.waiting) == 0) {
		r.Fatalf("%d wait still, and the fill was ended: %v", len(fl.waiting), over)
	}
}

func (m *model) end(r *rapid.T) {
	fl := m.any(r)
	how := rapid.SampledFrom([]string{"answer", "fail", "panic"}).Draw(r, "how")
	fl.end <- func() (string, error) {
		switch how {
		case "fail":
			return "", errBroken
		case "panic":
			panic(errBroken)
		}
		return fl.key + "!", nil
	}
	synctest.Wait()
	switch how {
	case "answer":
		m.settle(fl, fl.key+"!", nil)
	case "fail":
		m.settle(fl, "", errBroken)
	case "panic":
		m.settle(fl, "", new(cache.PanicError))
	}
	m.retire(fl)
}

func (m *model) retire(fl *modelFlight) {
	m.inFlight = slices.DeleteFunc(m.inFlight, func(other *modelFlight) bool { return other == fl })
}

// limit has a fill limit who joins it.
func (m *model) limit(r *rapid.T) {
	fl := m.any(r)
	fl.all.LimitJoins()
	if deadline := fl.deadline(); !deadline.IsZero() {
		if given := time.Until(deadline); fl.longest == 0 || given < fl.longest {
			fl.longest = given
		}
	}
}

// settle says what all who wait should get.
func (m *model) settle(fl *modelFlight, value string, err error) {
	for _, w := range fl.waiting {
		w.want.value, w.want.err = value, err
		m.ended = append(m.ended, w)
	}
	fl.waiting = nil
}

// any draws a flight, or gives up this step where there is none.
func (m *model) any(r *rapid.T) *modelFlight {
	if len(m.inFlight) == 0 {
		r.Skip("nothing in flight")
	}
	return rapid.SampledFrom(m.inFlight).Draw(r, "flight")
}

func (m *model) check(r *rapid.T) {
	if got := m.flights.Len(); got != len(m.inFlight) {
		r.Fatalf("%d in flight, want %d", got, len(m.inFlight))
	}
	for _, w := range m.ended {
		select {
		case got := <-w.end:
			_, panicked := errors.AsType[*cache.PanicError](got.err)
			_, shouldPanic := w.want.err.(*cache.PanicError)
			if got.value != w.want.value || got.shared != w.want.shared || panicked != shouldPanic || !shouldPanic && !errors.Is(got.err, w.want.err) {
				r.Fatalf("got %+v, want %+v", got, w.want)
			}
		default:
			r.Fatalf("a caller is stranded; want %+v", w.want)
		}
		if w.caller.follows != w.follows {
			r.Fatalf("follows %d, want %d", w.caller.follows, w.follows)
		}
	}
	m.ended = nil
	for _, fl := range m.inFlight {
		if got, want := fl.all.Deadline(), fl.deadline(); !got.Equal(want) {
			r.Fatalf("the deadline for %s is %v, want %v", fl.key, got, want)
		}
		for _, w := range fl.waiting {
			if len(w.end) > 0 || w.caller.follows != w.follows {
				r.Fatalf("waiting for %s: follows %d, want %d; returned: %v", fl.key, w.caller.follows, w.follows, len(w.end) > 0)
			}
		}
	}
}

// deadline is the latest of those who wait; the zero Time if one of them has none.
func (fl *modelFlight) deadline() (latest time.Time) {
	for _, w := range fl.waiting {
		if w.deadline.IsZero() {
			return time.Time{}
		}
		if w.deadline.After(latest) {
			latest = w.deadline
		}
	}
	return latest
}
