package inference_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/pool"
)

// journal keeps what an observer is told of each call, in order, by trace.
type journal struct {
	mu    sync.Mutex // guards lines
	lines map[string][]string
}

func (j *journal) note(trace, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lines == nil {
		j.lines = make(map[string][]string)
	}
	j.lines[trace] = append(j.lines[trace], strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (j *journal) Begin(info *inference.CallInfo) inference.Wants {
	j.note(info.Trace, "began")
	return inference.AllEvents
}

func (j *journal) Event(e inference.Event) {
	switch e.Kind {
	case inference.Queued:
		j.note(e.Trace, "queued for %s at %d, about %v", e.Model, e.Place, e.Wait)
	case inference.Granted:
		j.note(e.Trace, "granted %s on %s, attempt %d, after %v", e.Model, e.Host, e.Attempt, e.Wait)
	case inference.FirstToken:
		j.note(e.Trace, "first token on %s after %v", e.Host, e.Wait)
	case inference.Retried:
		j.note(e.Trace, "%s failed: %s", e.Host, fault.Of(e.Err).Code)
	case inference.LookedUp, inference.Compared:
		j.note(e.Trace, "%s: %s", e.Kind, e.Cache)
	case inference.RungBegan:
		j.note(e.Trace, "rung %d: %s", e.Rung, e.Model)
	case inference.AttemptEnded, inference.RungEnded, inference.FillEnded:
		why := "well"
		if e.Err != nil {
			why = string(fault.Of(e.Err).Code)
		}
		j.note(e.Trace, "%s %s", e.Kind, why)
	default:
		j.note(e.Trace, "%s", e.Kind)
	}
}

// isBoundary reports whether a line tells of where a part of a call begins or ends.
func isBoundary(line string) bool {
	kind, _, _ := strings.Cut(line, " ")
	return slices.Contains([]string{"began", "looked_up:", "fill_began", "rung", "attempt_ended", "rung_ended", "fill_ended"}, kind)
}

// story is what was told of a call, without where its parts begin and end.
func (j *journal) story(trace string) []string { return slices.DeleteFunc(j.of(trace), isBoundary) }

func (j *journal) Done(r inference.Record) { j.note(r.Trace, "done %s", r.Code) }

// of is what was told of a call.
func (j *journal) of(trace string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines[trace])
}

// traced makes a request as part of a call with a trace.
func (c *client) traced(ctx context.Context, trace, prompt string, timeout time.Duration) {
	call := c.engine.Begin(inference.CallInfo{Trace: trace, Tool: "generate", Caller: c.who})
	_, err := c.engine.Do(ctx, inference.Request{
		Common: inference.Common{Model: "tiny", Timeout: timeout, Caller: c.who, Call: call}, Prompt: prompt,
	})
	call.End(err)
}

func TestEventsOfACallComeInTheOrderOfItsWay(t *testing.T) {
	for _, mode := range []string{"cache on", "cache off"} {
		synctest.Test(t, func(t *testing.T) {
			c, told := &client{t: t, shares: true, cacheOff: mode == "cache off"}, new(journal)
			c.opts.Observer = told
			host := backendtest.New("gpu-1").Answer("one two").TokenTime(time.Second)
			c.useAll(pool.Options{Slots: 1}, host)
			c.traced(t.Context(), "first", "?", 0) // so that the pool knows how long a call takes
			var all sync.WaitGroup
			for _, trace := range []string{"second", "third", "fourth"} {
				all.Go(func() { c.traced(t.Context(), trace, trace, 0) })
				synctest.Wait()
			}
			all.Wait()
			answer := []string{"first token on gpu-1 after 1s", "done"}
			for trace, want := range map[string][]string{
				"second": {"granted tiny:latest on gpu-1, attempt 1, after 0s"},
				"third":  {"queued for tiny:latest at 1, about 2s", "granted tiny:latest on gpu-1, attempt 1, after 2s"},
				"fourth": {"queued for tiny:latest at 2, about 4s", "granted tiny:latest on gpu-1, attempt 1, after 4s"},
			} {
				if got := told.story(trace); !slices.Equal(got, append(want, answer...)) {
					t.Errorf("%s: %s:\n got %q\nwant %q", mode, trace, got, append(want, answer...))
				}
			}
		})
	}
}

func TestFailedAttemptIsAnEventBeforeTheNext(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		told := new(journal)
		c.opts.Observer = told
		c.use(backendtest.New("gpu-1").Answer("one").Fail(2, backendtest.Busy))
		c.traced(t.Context(), "a", "?", 0)
		var got []string
		for _, line := range told.story("a") { // the pauses between attempts are random
			got = append(got, strings.Split(line, ", after")[0])
		}
		want := []string{
			"granted tiny:latest on gpu-1, attempt 1", "gpu-1 failed: overloaded",
			"granted tiny:latest on gpu-1, attempt 2", "gpu-1 failed: overloaded",
			"granted tiny:latest on gpu-1, attempt 3", "first token on gpu-1 after 0s", "done",
		}
		if !slices.Equal(got, want) {
			t.Errorf("\n got %q\nwant %q", got, want)
		}
	})
}

// The fill is that of the first call, which others may wait for longer.
func TestEventsOfAFillGoOnForThoseWhoStillWait(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		told := new(journal)
		c.opts.Observer = told
		c.use(backendtest.New("gpu-1").Answer("one two three four").TokenTime(time.Second))
		var all sync.WaitGroup
		all.Go(func() { c.traced(t.Context(), "first", "?", 2500*time.Millisecond) })
		synctest.Wait()
		all.Go(func() { c.traced(t.Context(), "joins", "?", 0) })
		all.Wait()
		want := []string{
			"began", "looked_up: miss", "fill_began", "rung 1: tiny:latest", "granted tiny:latest on gpu-1, attempt 1, after 0s",
			"first token on gpu-1 after 1s", "done",
			"attempt_ended well", "rung_ended well", "fill_ended well",
		}
		if got := told.of("first"); !slices.Equal(got, want) {
			t.Errorf("of the first call:\n got %q\nwant %q", got, want)
		}
		if got := told.of("joins"); !slices.Equal(got, []string{"began", "looked_up: coalesced", "done"}) {
			t.Errorf("of the one that joined: %q", got)
		}
	})
}

func TestEachPartOfACallHasABeginningAndAnEnd(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		told := new(journal)
		c.opts.Observer = told
		host, _ := c.ladder()
		failing(host, backendtest.Busy, "big")
		ask := func(trace, model string) []string {
			call := c.engine.Begin(inference.CallInfo{Trace: trace, Tool: "generate"})
			_, err := c.engine.Do(t.Context(), inference.Request{Common: inference.Common{Model: model, Call: call}, Prompt: "?"})
			call.End(err)
			return slices.DeleteFunc(told.of(trace), func(line string) bool { return !isBoundary(line) })
		}
		got := slices.Compact(ask("made", "pro"))
		want := []string{
			"began", "looked_up: miss", "fill_began", "rung 1: big:latest", "attempt_ended overloaded", "rung_ended overloaded",
			"rung 2: small:latest", "attempt_ended well", "rung_ended well", "fill_ended well",
		}
		if !slices.Equal(got, want) {
			t.Errorf("\n got %q\nwant %q", got, want)
		}
		ask("kept", "small")
		if got := ask("cached", "small"); !slices.Equal(got, []string{"began", "looked_up: hit"}) {
			t.Errorf("cached: %q", got)
		}
	})
}

func TestEmbedRequestHasEventsToo(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		told := new(journal)
		c.opts.Observer = told
		c.useAll(pool.Options{Slots: 1}, backendtest.New("gpu-1").TokenTime(time.Second))
		embed := func(trace string) {
			call := c.engine.Begin(inference.CallInfo{Trace: trace, Tool: "embed"})
			_, err := c.engine.Embed(t.Context(), inference.EmbedRequest{Common: inference.Common{Model: "tiny", Call: call}, Input: []string{trace}})
			call.End(err)
		}
		var all sync.WaitGroup
		for _, trace := range []string{"first", "second"} {
			all.Go(func() { embed(trace) })
			synctest.Wait()
		}
		all.Wait()
		want := []string{"queued for tiny:latest at 1, about 0s", "granted tiny:latest on gpu-1, attempt 1, after 1s", "done"}
		if got := told.story("second"); !slices.Equal(got, want) {
			t.Errorf("\n got %q\nwant %q", got, want)
		}
	})
}

// A request that is not part of a call is one of its own, and a second end counts for
// nothing.
func TestRequestWithoutACallLeavesARecordToo(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		var records []inference.Record
		c.opts.Observer = observer{done: func(r inference.Record) { records = append(records, r) }}
		c.use(backendtest.New("gpu-1"))
		c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
		c.fails("chat", `{"model":"tiny"}`, "invalid_argument")
		c.succeeds("embed", `{"model":"tiny","input":["?"]}`)
		call := c.engine.Begin(inference.CallInfo{Tool: "other"})
		call.End(nil)
		call.End(fault.Invalidf("too late"))
		var got []string
		for _, r := range records {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s", r.Tool, r.Code)))
		}
		if want := []string{"generate", "chat invalid_argument", "embed", "other"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Metrics want to know of attempts, and the tracer of all that happens to the calls that are sampled.
func TestWatcherIsToldOfTheEventsThatItWants(t *testing.T) {
	for wants, events := range map[inference.Wants][]inference.EventKind{
		inference.NoEvents: nil,
		inference.Attempts: {inference.Granted, inference.Retried, inference.Granted},
		inference.AllEvents: {
			inference.FillBegan, inference.RungBegan, inference.Granted, inference.AttemptEnded, inference.Retried,
			inference.Granted, inference.FirstToken, inference.AttemptEnded, inference.RungEnded, inference.FillEnded,
		},
	} {
		story(t, func(t *testing.T, c *client) {
			var told []inference.EventKind
			c.opts.Observer = observer{wants: wants, event: func(e inference.Event) { told = append(told, e.Kind) }}
			c.use(backendtest.New("gpu-1").Answer("one").Fail(1, backendtest.Busy))
			c.traced(t.Context(), "a", "?", 0)
			want := events
			if wants == inference.AllEvents && !c.cacheOff {
				want = append([]inference.EventKind{inference.LookedUp}, events...)
			}
			if !slices.Equal(told, want) {
				t.Errorf("one that wants %d is told of %v, want %v", wants, told, want)
			}
		})
	}
}
