package inference_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// histories has the engine of a client keep histories, which are in the records that it returns by
// the trace of their call.
func (c *client) histories() (records func(trace string) inference.Record) {
	var mu sync.Mutex // guards all
	all := make(map[string]inference.Record)
	c.opts.Live = true
	c.opts.Observer = observer{done: func(r inference.Record) {
		mu.Lock()
		defer mu.Unlock()
		all[r.Trace] = r
	}}
	return func(trace string) inference.Record {
		c.t.Helper()
		mu.Lock()
		defer mu.Unlock()
		r, ok := all[trace]
		if !ok {
			c.t.Fatalf("there is no record of %q", trace)
		}
		return r
	}
}

func TestHistoryTellsOfTheWaitAndTheAttempts(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		record := c.histories()
		c.useAll(pool.Options{Slots: 1}, backendtest.New("gpu-1").Answer("one two").TokenTime(time.Second))
		c.traced(t.Context(), "first", "?", 0) // so that the pool knows how long a call takes
		var all sync.WaitGroup
		all.Go(func() { c.traced(t.Context(), "at once", "at once", 0) })
		synctest.Wait()
		all.Go(func() { c.traced(t.Context(), "waits", "waits", 0) })
		synctest.Wait()
		time.Sleep(500 * time.Millisecond)
		if live, _ := c.engine.Calls(9); len(live) != 2 || live[0].History.Attempts[0].Host != "gpu-1" || live[0].History.Attempts[0].Ended != 0 ||
			len(live[1].History.Attempts) != 0 || live[1].History.Place != 1 {
			t.Errorf("while both are under way: %+v", live)
		}
		all.Wait()
		h := record("waits").History
		if h == nil || h.Place != 1 || h.Expected != 2*time.Second || len(h.Attempts) != 1 || h.More != 0 {
			t.Fatalf("got %+v", h)
		}
		a := h.Attempts[0]
		if choice := a.Choice; choice.Slots != 1 || choice.Free != 0 {
			t.Errorf("the host was chosen since %+v", choice)
		}
		a.Choice = route.Choice{}
		if want := (inference.Attempt{
			Host: "gpu-1", Model: "tiny:latest", Number: 1, Waited: 2 * time.Second, Began: 2 * time.Second, First: 3 * time.Second, Ended: 4 * time.Second,
		}); a != want {
			t.Errorf("\n got %+v\nwant %+v", a, want)
		}
	})
}

func TestHistoryTellsWhyAttemptsFailedAndHowLongTheNextWaited(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		record := c.histories()
		c.use(backendtest.New("gpu-1").Answer("one").Fail(2, backendtest.Busy))
		c.traced(t.Context(), "a", "?", 0)
		h := record("a").History
		if h == nil || len(h.Attempts) != 3 {
			t.Fatalf("got %+v", h)
		}
		for i, a := range h.Attempts {
			isLast := i == 2
			if a.Number != i+1 || (a.Err == "") != isLast || (a.Pause == 0) != isLast || (a.First == 0) == isLast || a.Ended == 0 {
				t.Errorf("attempt %d: %+v", i+1, a)
			}
			if !isLast && h.Attempts[i+1].Began-a.Began < a.Pause {
				t.Errorf("attempt %d began before the pause of %v was over", i+2, a.Pause)
			}
		}
	})
}

// A host that is late gets company, and what happens to either is told of it alone.
func TestHistoryTellsTheLateHostFromTheOther(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		record := c.histories()
		c.opts.HedgeAfter = 3 * time.Second
		late, quick := backendtest.New("late").Answer("one"), backendtest.New("quick").Answer("one").FirstTokenTime(time.Second)
		c.useAll(pool.Options{Slots: 1}, late, quick)
		for _, host := range []string{"late", "quick"} {
			request := inference.Request{Common: inference.Common{Model: "tiny", Host: host}, Prompt: "loads the model of " + host}
			if _, err := c.engine.Do(t.Context(), request); err != nil {
				t.Fatal(err)
			}
		}
		late.FirstTokenTime(time.Minute)
		c.traced(t.Context(), "a", "?", 0)
		h := record("a").History
		if h == nil || len(h.Attempts) != 2 {
			t.Fatalf("got %+v", h)
		}
		first, second := h.Attempts[0], h.Attempts[1]
		if first.Hedge || !second.Hedge || first.First != 0 || second.First-second.Began != time.Second || first.Ended == 0 || second.Err != "" {
			t.Errorf("\nfirst  %+v\nsecond %+v", first, second)
		}
	})
}

func TestHistoryIsBoundedAndSaysWhatItLeavesOut(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		record := c.histories()
		host, _ := c.ladder()
		failing(host, backendtest.Busy, "big", "small")
		call := c.engine.Begin(inference.CallInfo{Trace: "a", Tool: "generate"})
		for range 10 {
			_, _ = c.engine.Do(t.Context(), inference.Request{Common: inference.Common{Model: "pro", Call: call, LocalOnly: true}, Prompt: "?"})
		}
		call.End(nil)
		if h := record("a").History; h == nil || len(h.Attempts) != 16 || h.More == 0 || h.Attempts[15].Ended == 0 {
			t.Errorf("got %+v", h)
		}
	})
}

// What happens to an answer for which others wait is not told of a call that is over.
func TestHistoryEndsWithItsCall(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		record := c.histories()
		c.use(backendtest.New("gpu-1").Answer("one two three four").TokenTime(time.Second))
		var all sync.WaitGroup
		all.Go(func() { c.traced(t.Context(), "leaves", "?", 2500*time.Millisecond) })
		synctest.Wait()
		all.Go(func() { c.traced(t.Context(), "joins", "?", 0) })
		all.Wait()
		if h := record("leaves").History; h == nil || len(h.Attempts) != 1 || h.Attempts[0].First == 0 || h.Attempts[0].Ended != 0 {
			t.Errorf("got %+v", h)
		}
		c.traced(t.Context(), "cached", "?", 0)
		for _, trace := range []string{"joins", "cached"} {
			if r := record(trace); r.History != nil {
				t.Errorf("%s, which asked no host: %+v", trace, r.History)
			}
		}
	})
}

// Names and answers of models may be wrong in any way; a format that is not met quotes the answer.
func TestHistoryQuotesNoAnswer(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		record := c.histories()
		c.use(backendtest.New("gpu-1").Answer("the secret of the model"))
		call := c.engine.Begin(inference.CallInfo{Trace: "a", Tool: "generate"})
		_, err := c.engine.Do(t.Context(), inference.Request{
			Common: inference.Common{Model: "tiny", Call: call}, Prompt: "?", Format: []byte(`{"type":"object"}`),
		})
		call.End(err)
		h := record("a").History
		if err == nil || h == nil || len(h.Attempts) == 0 {
			t.Fatalf("%v: got %+v", err, h)
		}
		for _, a := range h.Attempts {
			if strings.Contains(a.Err, "secret") {
				t.Errorf("got %+v", a)
			}
		}
	})
}

func TestNoHistoryIsKeptWhereNobodyLooks(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		record := c.histories()
		c.opts.Live = false
		c.use(backendtest.New("gpu-1"))
		c.traced(t.Context(), "a", "?", 0)
		if h := record("a").History; h != nil {
			t.Errorf("got %+v", h)
		}
	})
}
