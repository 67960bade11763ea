package tools_test

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/pool"
	"ollama-mcp/tools"
)

// telling is a pool that tells other numbers than its own.
type telling struct {
	*pool.Pool
	stats pool.Stats
}

func (t *telling) Stats() pool.Stats { return t.stats }

func TestStatusShowsHostsAndTheCallersOwnPartOfTheQueue(t *testing.T) {
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

func TestStatusCountsJobs(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").FirstTokenTime(time.Minute))
		jobs := func() string { return fmt.Sprint(c.succeeds("status", `{}`).StructuredContent["jobs"]) }
		if got := jobs(); got != "<nil>" {
			t.Errorf("before the first: %s, want none", got)
		}
		c.succeeds("generate", `{"model":"tiny","prompt":"?","wait_seconds":1}`)
		time.Sleep(9 * time.Second)
		if got := jobs(); got != "map[ended:0 oldest_seconds:10 underway:1]" {
			t.Errorf("while it is at work: %s", got)
		}
		time.Sleep(time.Minute)
		if got := jobs(); got != "map[ended:1 underway:0]" {
			t.Errorf("afterwards: %s", got)
		}
	})
}

func TestStatusShowsThePoolsCounters(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		now := time.Now().UTC()
		c.useHosts(&telling{c.pool(pool.Options{}, backendtest.New("gpu-1")), pool.Stats{
			Hosts: []pool.HostStats{{Name: "gpu-1", Slots: 4, Fewest: 1, Most: 16, Checked: []pool.Loaded{
				{Model: "soon:latest", NumCtx: 4096, Expires: now.Add(5 * time.Minute)},
				{Model: "for-ever:latest", Expires: now.Add(math.MaxInt64)},
				{Model: "unsaid:latest"},
			}}},
			Totals: pool.Totals{Calls: 21, Served: 1, Failed: 2, Cancelled: 3, GaveUp: 4, Refused: 5, Open: 6, TriesFailed: 7},
			Pace:   1500 * time.Millisecond,
			Rates:  pool.Rates{Calls: 2.5, Served: 1.5, Failed: 0.5, Growth: -0.25},
		}})
		got := c.succeeds("status", `{}`).StructuredContent
		for part, want := range map[string]string{
			"rates": "map[calls:2.5 failed:0.5 queue_growth:-0.25 served:1.5]",
			"calls": "map[calls:21 cancelled:3 cancelled_in_queue:4 failed:2 failed_attempts:7 hedges:0 hedges_won:0 in_flight:0 open:6 refused:5 retries:0 retry_budget:0 seconds_per_call:1.5 served:1]",
		} {
			if said := fmt.Sprint(got[part]); said != want {
				t.Errorf("%s: got  %s\nwant %s", part, said, want)
			}
		}
		host := got["hosts"].([]any)[0].(map[string]any)
		if host["slots_fewest"] != 1.0 || host["slots_most"] != 16.0 {
			t.Errorf("slots: %v", host)
		}
		var expires []any
		for _, m := range host["models_loaded"].([]any) {
			expires = append(expires, m.(map[string]any)["expires_at"])
		}
		if want := []any{now.Add(5 * time.Minute).Format(time.RFC3339), nil, nil}; fmt.Sprint(expires) != fmt.Sprint(want) {
			t.Errorf("models are unloaded at %v, want %v", expires, want)
		}
		other := c.as(caller.Caller{ID: "b", Models: []string{"soon:*"}}).succeeds("status", `{}`).StructuredContent
		if told := fmt.Sprint(other["hosts"]); !strings.Contains(told, "soon") || strings.Contains(told, "unsaid") {
			t.Errorf("who may use one model is told of %s", told)
		}
	})
}

func TestEveryFieldOfStatusIsDescribed(t *testing.T) {
	plain := strings.Fields("hosts name version models_installed model waiting entries bytes expired served failed since reason hits")
	for _, tool := range tools.Describe(everything) {
		if tool.Name != "status" {
			continue
		}
		for _, field := range unexplained(decoded(t, tool.Output)) {
			if !strings.Contains(" "+strings.Join(plain, " ")+" ", " "+field+" ") {
				t.Errorf("%s is explained nowhere", field)
			}
		}
	}
}

// unexplained are the fields in a schema that have no description.
func unexplained(schema any) (fields []string) {
	switch s := schema.(type) {
	case map[string]any:
		properties, _ := s["properties"].(map[string]any)
		for name, field := range properties {
			if field.(map[string]any)["description"] == nil {
				fields = append(fields, name)
			}
			fields = append(fields, unexplained(field)...)
		}
		fields = append(fields, unexplained(s["items"])...)
	}
	return fields
}
