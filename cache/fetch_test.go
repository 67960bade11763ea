package cache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/cache"
)

// answers is a fill that takes a second and gives each time another answer.
type answers struct{ filled atomic.Int32 }

func (a *answers) fill(context.Context, cache.Waiters) (cache.Entry, bool, error) {
	time.Sleep(time.Second)
	return cache.Entry{Value: text(fmt.Sprint("answer ", a.filled.Add(1)))}, true, nil
}

func TestPolicySaysWhereAnAnswerMayComeFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, key, a := open(t, small), keyOf(t, "question"), new(answers)
		for i, step := range []struct {
			policy cache.Policy
			want   string
			source cache.Source
		}{
			{cache.Off, "answer 1", cache.Miss},
			{cache.Auto, "answer 2", cache.Miss}, // what Off got was not kept
			{cache.Auto, "answer 2", cache.Hit},
			{"", "answer 2", cache.Hit},
			{cache.Off, "answer 3", cache.Miss},
			{cache.Auto, "answer 2", cache.Hit},
			{cache.Refresh, "answer 4", cache.Miss},
			{cache.Auto, "answer 4", cache.Hit},
		} {
			got, source, err := c.Fetch(t.Context(), cache.Lookup{Key: key, Policy: step.policy}, 0, nil, a.fill)
			if got.Value != text(step.want) || source != step.source || err != nil {
				t.Fatalf("step %d, %q: got %q from %s, error %v; want %q from %s", i, step.policy, got.Value, source, err, step.want, step.source)
			}
			if got.Took != time.Second || got.Stored.IsZero() {
				t.Errorf("step %d: took %v, stored %v; want a second, and a time", i, got.Took, got.Stored)
			}
		}
		got := c.Stats()
		if got.Hits != 4 || got.Misses != 2 || got.Coalesced != 0 || got.Sets != 2 || got.Saved != 4*time.Second {
			t.Errorf("got %+v, want 4 hits that saved 4s, 2 misses and 2 sets", got)
		}
	})
}

func TestCallThatReplacesKeepsItsAnswerOnlyInPlaceOfAnOlderOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, a := open(t, small), new(answers)
		for i, step := range []struct {
			question string
			lookup   cache.Lookup
			want     string
			source   cache.Source
		}{
			{"one", cache.Lookup{Replaces: true}, "answer 1", cache.Miss},
			{"one", cache.Lookup{Replaces: true}, "answer 2", cache.Miss},
			{"one", cache.Lookup{Replaces: true, Policy: cache.Refresh}, "answer 3", cache.Miss},
			{"one", cache.Lookup{}, "answer 4", cache.Miss},
			{"one", cache.Lookup{Replaces: true}, "answer 4", cache.Hit},
			{"one", cache.Lookup{Replaces: true, Policy: cache.Refresh}, "answer 5", cache.Miss},
			{"one", cache.Lookup{}, "answer 5", cache.Hit},
			{"other", cache.Lookup{Replaces: true}, "answer 6", cache.Miss},
		} {
			step.lookup.Key = keyOf(t, step.question)
			got, source, err := c.Fetch(t.Context(), step.lookup, 0, nil, a.fill)
			if got.Value != text(step.want) || source != step.source || err != nil {
				t.Fatalf("step %d: got %q from %s, error %v; want %q from %s", i, got.Value, source, err, step.want, step.source)
			}
		}
		if got := c.Stats(); got.Entries != 1 || got.CrowdedOut != 0 {
			t.Errorf("got %+v, want one entry", got)
		}
	})
}

func TestHitTellsHowOldItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, key, a := open(t, small), keyOf(t, "question"), new(answers)
		for _, want := range []time.Duration{0, time.Minute} {
			time.Sleep(want)
			got, _, err := c.Fetch(t.Context(), cache.Lookup{Key: key, Policy: cache.Auto}, 0, nil, a.fill)
			if age := time.Since(got.Stored); age != want || err != nil {
				t.Errorf("got an age of %v, error %v; want %v", age, err, want)
			}
		}
	})
}

func TestOnlyWhatAFillAllowsIsKept(t *testing.T) {
	broken := errors.New("connection refused")
	for _, step := range []struct {
		keep bool
		err  error
		want cache.Source // of the next call
	}{
		{true, nil, cache.Hit},
		{false, nil, cache.Miss},
		{true, broken, cache.Miss},
	} {
		c, key := open(t, small), keyOf(t, "question")
		fill := func(context.Context, cache.Waiters) (cache.Entry, bool, error) {
			return cache.Entry{Value: text("answer")}, step.keep, step.err
		}
		got, source, err := c.Fetch(t.Context(), cache.Lookup{Key: key, Policy: cache.Auto}, 0, nil, fill)
		if got.Value != text("answer") || source != cache.Miss || !errors.Is(err, step.err) {
			t.Errorf("%+v: got %q from %s, error %v", step, got.Value, source, err)
		}
		if _, source, _ := c.Fetch(t.Context(), cache.Lookup{Key: key, Policy: cache.Auto}, 0, nil, fill); source != step.want {
			t.Errorf("%+v: the next call got a %s, want a %s", step, source, step.want)
		}
	}
}

func TestRefreshAndCallsThatWantTheirOwnAnswerShareNoFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, key, a := open(t, small), keyOf(t, "question"), new(answers)
		var sources sync.Map
		var callers sync.WaitGroup
		for i, l := range []cache.Lookup{
			{Policy: cache.Auto},
			{Policy: cache.Auto},
			{Policy: cache.Refresh},
			{Policy: cache.Refresh},
			{Policy: cache.Off},
			{Policy: cache.Off},
			{Alone: true},
			{Alone: true},
			{},
		} {
			l.Key = key
			callers.Go(func() {
				_, source, _ := c.Fetch(t.Context(), l, 0, nil, a.fill)
				sources.Store(i, source)
			})
			synctest.Wait()
		}
		if got := c.Stats().InFlight; got != 5 {
			t.Errorf("%d fills in flight, want one of Auto, two of Refresh and two of those that are alone", got)
		}
		callers.Wait()
		for i, want := range []cache.Source{
			cache.Miss, cache.Coalesced, cache.Miss, cache.Miss, cache.Miss, cache.Miss, cache.Miss, cache.Miss, cache.Coalesced,
		} {
			if got, _ := sources.Load(i); got != want {
				t.Errorf("caller %d: got a %v, want a %v", i, got, want)
			}
		}
		if got := c.Stats(); got.Misses != 5 || got.Coalesced != 2 || got.Saved != 2*time.Second {
			t.Errorf("got %+v, want 5 misses, and 2 coalesced that saved 2s", got)
		}
		if _, source, _ := c.Fetch(t.Context(), cache.Lookup{Key: key, Alone: true}, 0, nil, a.fill); source != cache.Hit {
			t.Errorf("a call that is alone, later: got a %v, want a hit", source)
		}
	})
}

// A fill that was under way when a call asked for a new answer may end after it.
func TestAnswerThatWasBegunBeforeTheOneThatIsKeptDoesNotReplaceIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, key := open(t, small), keyOf(t, "question")
		fill := func(says string, takes time.Duration) cache.Fill {
			return func(context.Context, cache.Waiters) (cache.Entry, bool, error) {
				time.Sleep(takes)
				return cache.Entry{Value: text(says)}, true, nil
			}
		}
		kept := func(when, want string) {
			t.Helper()
			got, source, err := c.Fetch(t.Context(), cache.Lookup{Key: key}, 0, nil, fill("none was kept", 0))
			if got.Value != text(want) || source != cache.Hit || err != nil {
				t.Errorf("%s: got %q from %s, %v; want %q", when, got.Value, source, err, want)
			}
		}
		var slow sync.WaitGroup
		slow.Go(func() {
			if got, _, err := c.Fetch(t.Context(), cache.Lookup{Key: key}, 0, nil, fill("old", 10*time.Second)); got.Value != text("old") || err != nil {
				t.Errorf("the call that began first got %q, %v", got.Value, err)
			}
		})
		time.Sleep(time.Second)
		if _, _, err := c.Fetch(t.Context(), cache.Lookup{Key: key, Policy: cache.Refresh}, 0, nil, fill("new", time.Second)); err != nil {
			t.Fatal(err)
		}
		kept("after the refresh", "new")
		slow.Wait()
		kept("after the call that began before it", "new")
		if _, _, err := c.Fetch(t.Context(), cache.Lookup{Key: key, Policy: cache.Refresh}, 0, nil, fill("newest", time.Second)); err != nil {
			t.Fatal(err)
		}
		kept("after another refresh", "newest")
	})
}

func TestVariantsShareWhatIsCachedAndNotWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, key, a := open(t, small), keyOf(t, "question"), new(answers)
		sources := make([]cache.Source, 4)
		var callers sync.WaitGroup
		for i, variant := range []any{nil, "batch", nil, "batch"} {
			callers.Go(func() {
				_, sources[i], _ = c.Fetch(t.Context(), cache.Lookup{Key: key, Variant: variant}, 0, nil, a.fill)
			})
			synctest.Wait()
		}
		callers.Wait()
		if want := []cache.Source{cache.Miss, cache.Miss, cache.Coalesced, cache.Coalesced}; !slices.Equal(sources, want) {
			t.Errorf("in flight: got %v, want %v", sources, want)
		}
		if _, source, _ := c.Fetch(t.Context(), cache.Lookup{Key: key, Variant: "another"}, 0, nil, a.fill); source != cache.Hit {
			t.Errorf("later: got a %s, want a hit", source)
		}
	})
}

func TestDeadlineOfALookupEndsItsWaitUnderEachPolicy(t *testing.T) {
	for _, policy := range []cache.Policy{cache.Auto, cache.Refresh, cache.Off} {
		synctest.Test(t, func(t *testing.T) {
			c, deadline := open(t, small), time.Now().Add(time.Second)
			var seen time.Time
			_, _, err := c.Fetch(t.Context(), cache.Lookup{Key: keyOf(t, "question"), Policy: policy, Deadline: deadline}, 0, nil,
				func(ctx context.Context, all cache.Waiters) (cache.Entry, bool, error) {
					seen = all.Deadline()
					<-ctx.Done()
					return cache.Entry{}, false, context.Cause(ctx)
				})
			if !errors.Is(err, context.DeadlineExceeded) || !time.Now().Equal(deadline) || !seen.Equal(deadline) {
				t.Errorf("%s: got %v at %v, and the fill saw the deadline %v; want %v", policy, err, time.Now(), seen, deadline)
			}
		})
	}
}

// TestThousandCallersFillOnce is where the second look counts: some callers miss,
// and only get to ask for a fill when the one of the others has ended.
func TestThousandCallersFillOnce(t *testing.T) {
	c := open(t, small)
	for round := range 20 {
		key := keyOf(t, round)
		var fills atomic.Int32
		var callers sync.WaitGroup
		for range 1000 {
			callers.Go(func() {
				got, _, err := c.Fetch(t.Context(), cache.Lookup{Key: key, Policy: cache.Auto}, 0, nil, func(context.Context, cache.Waiters) (cache.Entry, bool, error) {
					fills.Add(1)
					return cache.Entry{Value: text("answer")}, true, nil
				})
				if got.Value != text("answer") || err != nil {
					t.Errorf("got %q, error %v", got.Value, err)
				}
			})
		}
		callers.Wait()
		if n := fills.Load(); n != 1 {
			t.Fatalf("round %d: %d fills for 1000 callers", round, n)
		}
	}
	if got := c.Stats(); got.Misses != 20 || got.Hits+got.Coalesced != 20*999 {
		t.Errorf("got %+v, want 20 misses, and all others hits or coalesced", got)
	}
}

func TestCacheThatKeepsNothingStillSharesFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, key, a := open(t, cache.Options{}), keyOf(t, "question"), new(answers)
		var callers sync.WaitGroup
		for range 10 {
			callers.Go(func() { _, _, _ = c.Fetch(t.Context(), cache.Lookup{Key: key, Policy: cache.Auto}, 0, nil, a.fill) })
		}
		callers.Wait()
		if n := a.filled.Load(); n != 1 {
			t.Errorf("%d fills for 10 callers at once", n)
		}
		if _, source, _ := c.Fetch(t.Context(), cache.Lookup{Key: key, Policy: cache.Auto}, 0, nil, a.fill); source != cache.Miss {
			t.Errorf("later: got a %s, want nothing kept", source)
		}
	})
}

func TestOffRunsWithTheCallersContext(t *testing.T) {
	type session struct{}
	c := open(t, small)
	ctx := context.WithValue(t.Context(), session{}, "mine")
	joined := func(int) { t.Error("the call has joined a fill") }
	_, _, err := c.Fetch(ctx, cache.Lookup{Key: keyOf(t, "question"), Policy: cache.Off}, 0, joined, func(ctx context.Context, _ cache.Waiters) (cache.Entry, bool, error) {
		if ctx.Value(session{}) != "mine" {
			t.Error("the context is another")
		}
		return cache.Entry{}, true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCloseEndsAFetchAndItsFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, small)
		end := make(chan error, 1)
		go func() {
			_, _, err := c.Fetch(t.Context(), cache.Lookup{Key: keyOf(t, "question"), Policy: cache.Auto}, 0, nil, func(ctx context.Context, _ cache.Waiters) (cache.Entry, bool, error) {
				<-ctx.Done()
				return cache.Entry{Value: text("partial")}, true, nil
			})
			end <- err
		}()
		synctest.Wait()
		c.Close()
		if err := <-end; !errors.Is(err, cache.ErrClosed) {
			t.Errorf("got error %v, want ErrClosed", err)
		}
	})
}

func TestLookUpsAreCountedAsTheirMethodSays(t *testing.T) {
	c, kept, missing := open(t, small), keyOf(t, "kept"), keyOf(t, "missing")
	find := func(k cache.Key) (cache.Entry, bool) { return c.Find(t.Context(), k) }
	c.Set(kept, cache.Entry{Value: text("an answer"), Took: time.Second})
	for _, tt := range []struct {
		name         string
		look         func(cache.Key) (cache.Entry, bool)
		hits, misses uint64 // of one look-up of each key
	}{{"Get", c.Get, 1, 1}, {"Find", find, 1, 0}, {"Peek", c.Peek, 0, 0}} {
		before := c.Stats()
		if e, ok := tt.look(kept); !ok || e.Value != text("an answer") {
			t.Errorf("%s: got %v, %v", tt.name, e, ok)
		}
		if e, ok := tt.look(missing); ok {
			t.Errorf("%s: got %v for nothing", tt.name, e)
		}
		after := c.Stats()
		if hits, misses := after.Hits-before.Hits, after.Misses-before.Misses; hits != tt.hits || misses != tt.misses {
			t.Errorf("%s: counted %d hits and %d misses, want %d and %d", tt.name, hits, misses, tt.hits, tt.misses)
		}
		if saved := after.Saved - before.Saved; saved != time.Duration(tt.hits)*time.Second {
			t.Errorf("%s: saved %v", tt.name, saved)
		}
	}
}
