package inference_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/pool"
)

func TestPinnedOptionOverridesTheCallersAndANoteSaysSo(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").Answer("yes").Install(backendtest.Model{Name: "tiny", Context: 32768})
		c.useAll(pool.Options{Runner: map[string]map[string]any{"tiny:latest": {"num_ctx": 16384}}}, host)
		const args = `{"model":"tiny","prompt":"?","options":{"num_ctx":2048,"num_thread":2,"seed":7}}`
		a := c.succeeds("generate", args)
		sent := host.Calls()[0].Options
		if sent["num_ctx"] != 16384.0 || sent["num_thread"] != 2.0 || sent["seed"] != 7.0 {
			t.Errorf("the host was sent %v", sent)
		}
		if over := a.served.Overridden; len(over) != 1 || over[0] != "num_ctx" {
			t.Errorf("overridden are %v, want num_ctx", a.served.Overridden)
		}
		if a.notes == "" || !strings.Contains(a.notes, "The model runs with num_ctx 16384 for all callers") {
			t.Errorf("the reader is not told: %+v", a)
		}
		if a := c.succeeds("generate", `{"model":"tiny","prompt":"?","options":{"num_ctx":16384}}`); a.notes != "" {
			t.Errorf("the pinned value itself: %+v", a)
		}
		e := c.succeeds("embed", `{"model":"tiny","input":["?"],"options":{"num_ctx":2048}}`)
		if host.Calls()[2].Options["num_ctx"] != 16384.0 || !strings.Contains(e.notes, "The model runs with num_ctx 16384 for all callers") {
			t.Errorf("embed: sent %v, said %v", host.Calls()[2].Options, e)
		}
	})
}

func TestSmallerContextThanLoadedIsOverriddenWithoutTalkOfPins(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("yes"))
		c.succeeds("generate", `{"model":"tiny","prompt":"?","options":{"num_ctx":4096}}`)
		a := c.succeeds("generate", `{"model":"tiny","prompt":"?","options":{"num_ctx":2048}}`)
		if a.notes == "" || strings.Contains(a.notes, "pin") || !strings.Contains(a.notes, "runs with num_ctx 4096") {
			t.Errorf("got %+v", a)
		}
		if host.Stats().Loads != 1 {
			t.Errorf("loaded %d times", host.Stats().Loads)
		}
	})
}

func TestRequestMayNameItsHost(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		one, two := backendtest.New("gpu-1").Answer("one"), backendtest.New("gpu-2").Answer("two")
		c.useAll(pool.Options{}, one, two)
		for host, want := range map[string]string{"gpu-1": "one", "gpu-2": "two"} {
			a := c.succeeds("generate", `{"model":"tiny","prompt":"?","host":"`+host+`"}`)
			if a.text != want || a.served.Host != host {
				t.Errorf("%s: got %+v", host, a)
			}
		}
		c.fails("generate", `{"model":"tiny","prompt":"?","host":"gpu-3"}`, "invalid_argument", "gpu-3", "gpu-1, gpu-2")
	})
}

func TestRequestThatOneHostFailsIsRetriedOnAnother(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		bad, good := backendtest.New("gpu-1"), backendtest.New("gpu-2").Answer("one two three")
		bad.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Cut(1) })
		c.useAll(pool.Options{}, bad, good)
		for range 10 {
			a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`)
			if a.text != "one two three" || a.notes != "" {
				t.Errorf("got %+v, want the whole answer and nothing of the cut one", a)
			}
			if tried := len(bad.Calls()) > 0; tried != (a.served.Retries > 0) {
				t.Errorf("the bad host was asked %d times, and the answer tells of %v retries", len(bad.Calls()), a.served.Retries)
			}
			if len(bad.Calls()) > 0 {
				return
			}
		}
		t.Error("the bad host was never asked")
	})
}

func TestInteractiveRequestsOvertakeBatchRequests(t *testing.T) {
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

// An operator of a server that is busy needs more slots, and one of a host that fails does not.
func TestTimeInTheQueueIsToldFromTimeThatAttemptsHaveLost(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").Answer("one two").TokenTime(time.Second)
		c.useAll(pool.Options{Slots: 1}, host)
		var all sync.WaitGroup
		all.Go(func() { c.succeeds("generate", `{"model":"tiny","prompt":"first"}`) })
		synctest.Wait()
		if s := c.succeeds("generate", `{"model":"tiny","prompt":"waits"}`).served; s.Queue != 2000 || s.Lost != 0 || s.ToFirstToken() != 3000 || s.Total != 4000 {
			t.Errorf("one that waits: %+v", s)
		}
		all.Wait()
		host.Fail(2, backendtest.Busy)
		if s := c.succeeds("generate", `{"model":"tiny","prompt":"fails"}`).served; s.Queue != 0 || s.Lost == 0 || s.Retries != 2 || s.Total != s.ToFirstToken()+1000 {
			t.Errorf("one that fails twice: %+v", s)
		}
	})
}
