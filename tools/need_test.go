package tools_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/pool"
)

func TestOptionThatIsPinnedIsOverriddenAndSaid(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").Answer("yes").Install(backendtest.Model{Name: "tiny", Context: 32768})
		c.useAll(pool.Options{Runner: map[string]map[string]any{"tiny:latest": {"num_ctx": 16384}}}, host)
		const args = `{"model":"tiny","prompt":"?","options":{"num_ctx":2048,"num_thread":2,"seed":7}}`
		a := c.succeeds("generate", args)
		sent := host.Calls()[0].Options
		if sent["num_ctx"] != 16384.0 || sent["num_thread"] != 2.0 || sent["seed"] != 7.0 {
			t.Errorf("the host was sent %v", sent)
		}
		if over, _ := a.Meta.Served["overridden_options"].([]any); len(over) != 1 || over[0] != "num_ctx" {
			t.Errorf("overridden are %v, want num_ctx", a.Meta.Served["overridden_options"])
		}
		if len(a.Content) != 2 || !strings.Contains(a.Content[1].Text, "The model runs with num_ctx 16384 for all callers") {
			t.Errorf("the reader is not told: %+v", a.Content)
		}
		if a := c.succeeds("generate", `{"model":"tiny","prompt":"?","options":{"num_ctx":16384}}`); len(a.Content) != 1 {
			t.Errorf("the pinned value itself: %+v", a.Content)
		}
		e := c.succeeds("embed", `{"model":"tiny","input":"?","options":{"num_ctx":2048}}`)
		if host.Calls()[2].Options["num_ctx"] != 16384.0 || !strings.Contains(e.Content[1].Text, "The model runs with num_ctx 16384 for all callers") {
			t.Errorf("embed: sent %v, said %+v", host.Calls()[2].Options, e.Content)
		}
	})
}

func TestSmallerContextThanIsLoadedIsNotSaidToBePinned(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("yes"))
		c.succeeds("generate", `{"model":"tiny","prompt":"?","options":{"num_ctx":4096}}`)
		a := c.succeeds("generate", `{"model":"tiny","prompt":"?","options":{"num_ctx":2048}}`)
		if len(a.Content) != 2 || strings.Contains(a.Content[1].Text, "pin") || !strings.Contains(a.Content[1].Text, "runs with num_ctx 4096") {
			t.Errorf("got %+v", a.Content)
		}
		if host.Stats().Loads != 1 {
			t.Errorf("loaded %d times", host.Stats().Loads)
		}
	})
}

func TestCallMayNameItsHost(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		one, two := backendtest.New("gpu-1").Answer("one"), backendtest.New("gpu-2").Answer("two")
		c.useAll(pool.Options{}, one, two)
		for host, want := range map[string]string{"gpu-1": "one", "gpu-2": "two"} {
			a := c.succeeds("generate", `{"model":"tiny","prompt":"?","host":"`+host+`"}`)
			if a.Content[0].Text != want || a.Meta.Served["host"] != host {
				t.Errorf("%s: got %+v", host, a)
			}
		}
		c.fails("generate", `{"model":"tiny","prompt":"?","host":"gpu-3"}`, "invalid_argument", "gpu-3", "gpu-1, gpu-2")
	})
}

func TestCallThatOneHostFailsIsAnsweredByAnother(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		bad, good := backendtest.New("gpu-1"), backendtest.New("gpu-2").Answer("one two three")
		bad.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Cut(1) })
		c.useAll(pool.Options{}, bad, good)
		for range 10 {
			a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
			if a.Content[0].Text != "one two three" || len(a.Content) != 1 {
				t.Errorf("got %+v, want the whole answer and nothing of the cut one", a.Content)
			}
			if tried := len(bad.Calls()) > 0; tried != (a.Meta.Served["retries"] != nil) {
				t.Errorf("the bad host was asked %d times, and the answer tells of %v retries", len(bad.Calls()), a.Meta.Served["retries"])
			}
			if len(bad.Calls()) > 0 {
				return
			}
		}
		t.Error("the bad host was never asked")
	})
}

func TestBatchWorkLetsInteractiveCallsGoFirst(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").FirstTokenTime(10 * time.Second)
		c.useAll(pool.Options{Slots: 1}, host)
		var all sync.WaitGroup
		for _, args := range []string{
			`{"model":"tiny","prompt":"first"}`,
			`{"model":"tiny","prompt":"batch","priority":"batch"}`,
			`{"model":"tiny","prompt":"interactive"}`,
		} {
			all.Go(func() { c.succeeds("generate", args) })
			synctest.Wait()
		}
		all.Wait()
		var order []string
		for _, call := range host.Calls() {
			order = append(order, call.Prompt)
		}
		if got := strings.Join(order, " "); got != "first interactive batch" {
			t.Errorf("the order was %s", got)
		}
	})
}

func TestStatusTellsOfHostsAndOfTheCallersOwnPartOfTheQueue(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.useAll(pool.Options{Slots: 1}, backendtest.New("gpu-1").FirstTokenTime(10*time.Second))
		var all sync.WaitGroup
		for _, id := range []string{"a", "b", "c", "c"} {
			who := c.as(caller.Caller{ID: id})
			all.Go(func() { who.succeeds("generate", `{"model":"tiny","prompt":"?"}`) })
			synctest.Wait()
		}
		s := c.as(caller.Caller{ID: "c"}).succeeds("status", `{}`).StructuredContent
		host, queue := s["hosts"].([]any)[0].(map[string]any), s["queue"].(map[string]any)
		if host["name"] != "gpu-1" || host["busy"] != 1.0 || host["slots"] != 1.0 || host["healthy"] != true || host["breaker"] != "closed" {
			t.Errorf("host: %v", host)
		}
		if callers := queue["callers"].(map[string]any); queue["waiting"] != 3.0 || len(callers) != 1 || callers["c"] != 2.0 {
			t.Errorf("queue: %v", queue)
		}
		admin := c.as(caller.Caller{Admin: true}).succeeds("status", `{}`).StructuredContent["queue"].(map[string]any)
		if callers := admin["callers"].(map[string]any); callers["b"] != 1.0 || callers["c"] != 2.0 {
			t.Errorf("an administrator sees %v", callers)
		}
		all.Wait()
		calls := c.succeeds("status", `{}`).StructuredContent["calls"].(map[string]any)
		if calls["served"] != 4.0 || calls["in_flight"] != 0.0 {
			t.Errorf("in the end: %v", calls)
		}
	})
}
