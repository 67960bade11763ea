package call

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/table"
)

// serverStatus is the result of status, as far as it is printed.
type serverStatus struct {
	Hosts   []hostStatus `json:"hosts"`
	Queue   queueStatus  `json:"queue"`
	Calls   callStatus   `json:"calls"`
	Rates   rateStatus   `json:"rates"`
	Cache   cacheStatus  `json:"cache"`
	Redis   *redisStatus `json:"redis"`
	Jobs    *jobsStatus  `json:"jobs"`
	Ladders []struct {
		Model  string `json:"model"`
		State  string `json:"state"`
		Since  string `json:"since"`
		Reason string `json:"reason"`
	} `json:"ladders"`
}

type hostStatus struct {
	Name      string  `json:"name"`
	Well      bool    `json:"healthy"`
	Why       string  `json:"reason"`
	Version   string  `json:"version"`
	Busy      int     `json:"busy"`
	Slots     int     `json:"slots"`
	Learned   bool    `json:"slots_learned"`
	Latency   float64 `json:"latency_seconds"`
	Installed int     `json:"models_installed"`
	Loaded    []struct {
		Model   string  `json:"model"`
		Context int     `json:"context"`
		VRAM    float64 `json:"vram_share"`
		Expires string  `json:"expires_at"`
	} `json:"models_loaded"`
	Cloud *struct {
		Models []string `json:"models"`
		Well   bool     `json:"healthy"`
		Why    string   `json:"reason"`
		Busy   int      `json:"busy"`
	} `json:"cloud"`
}

type queueStatus struct {
	Waiting     int            `json:"waiting"`
	Interactive int            `json:"interactive"`
	Batch       int            `json:"batch"`
	Bytes       int64          `json:"bytes"`
	Callers     map[string]int `json:"callers"`
}

type callStatus struct {
	Calls       uint64  `json:"calls"`
	Served      uint64  `json:"served"`
	Failed      uint64  `json:"failed"`
	Cancelled   uint64  `json:"cancelled"`
	GaveUp      uint64  `json:"cancelled_in_queue"`
	Refused     uint64  `json:"refused"`
	Open        uint64  `json:"open"`
	TriesFailed uint64  `json:"failed_attempts"`
	Retried     uint64  `json:"retries"`
	Hedged      uint64  `json:"hedges"`
	InFlight    int     `json:"in_flight"`
	Pace        float64 `json:"seconds_per_call"`
}

type rateStatus struct {
	Calls  float64 `json:"calls"`
	Served float64 `json:"served"`
	Failed float64 `json:"failed"`
}

type cacheStatus struct {
	Entries   int64   `json:"entries"`
	Bytes     int64   `json:"bytes"`
	Hits      uint64  `json:"hits"`
	Misses    uint64  `json:"misses"`
	Coalesced uint64  `json:"coalesced"`
	Saved     float64 `json:"seconds_saved"`
	Semantic  *struct {
		Entries int    `json:"entries"`
		Hits    uint64 `json:"hits"`
		Shadow  uint64 `json:"would_be_hits"`
	} `json:"semantic"`
}

type redisStatus struct {
	Reachable bool   `json:"reachable"`
	Reason    string `json:"reason"`
	Replicas  int    `json:"replicas"`
	Hits      uint64 `json:"hits"`
	Misses    uint64 `json:"misses"`
}

type jobsStatus struct {
	Underway int     `json:"underway"`
	Ended    int     `json:"ended"`
	Oldest   float64 `json:"oldest_seconds"`
}

func printStatus(w io.Writer, out *serverStatus, now time.Time) {
	if len(out.Hosts) == 0 {
		fmt.Fprintln(w, "No hosts.")
	}
	out.hosts().Print(w, true)
	out.loaded(now).Print(w, false)
	out.clouds().Print(w, false)
	out.ladders(now).Print(w, false)
	fmt.Fprintln(w)
	facts := table.Table{Head: []string{"", ""}} // without names
	facts.Row("Queue", out.Queue.String())
	facts.Row("Calls", out.Calls.String())
	facts.Row("Hosts", out.Calls.requests())
	facts.Row("Last minute", fmt.Sprintf("%.1f calls per second, %.1f answered, %.1f failed", out.Rates.Calls, out.Rates.Served, out.Rates.Failed))
	facts.Row("Cache", out.Cache.String())
	if out.Redis != nil {
		facts.Row("Redis", out.Redis.String())
	}
	if out.Jobs != nil {
		facts.Row("Jobs", out.Jobs.String())
	}
	facts.Print(w, true)
}

func (s *serverStatus) hosts() *table.Table {
	t := &table.Table{Head: []string{"HOST", "STATE", "BUSY SLOTS", ">LATENCY", ">MODELS", "OLLAMA"}}
	for _, h := range s.Hosts {
		state, slots, latency := "ok", fmt.Sprintf("%d of %d", h.Busy, h.Slots), ""
		if !h.Well {
			state = "not available: " + h.Why
		}
		if h.Learned {
			slots += " (learned)"
		}
		if h.Latency > 0 {
			latency = fmt.Sprintf("%.1f s", h.Latency)
		}
		t.Row(h.Name, state, slots, latency, table.Grouped(h.Installed), h.Version)
	}
	return t
}

func (s *serverStatus) loaded(now time.Time) *table.Table {
	t := &table.Table{Head: []string{"MODEL IN MEMORY", "HOST", ">CONTEXT", ">ON GPU", "UNLOADED"}}
	for _, h := range s.Hosts {
		for _, m := range h.Loaded {
			unloaded := "never"
			if expires, err := time.Parse(time.RFC3339, m.Expires); err == nil {
				unloaded = "in " + table.Span(max(0, expires.Sub(now)))
			}
			t.Row(m.Model, h.Name, table.Grouped(m.Context), fmt.Sprintf("%.0f%%", 100*m.VRAM), unloaded)
		}
	}
	return t
}

// clouds are the models that hosts pass on to Ollama's cloud.
func (s *serverStatus) clouds() *table.Table {
	t := &table.Table{Head: []string{"MODEL IN OLLAMA'S CLOUD", "HOST", "STATE", ">BUSY"}}
	for _, h := range s.Hosts {
		if h.Cloud == nil {
			continue
		}
		state := "ok"
		if !h.Cloud.Well {
			state = "not available: " + h.Cloud.Why
		}
		for _, model := range h.Cloud.Models {
			t.Row(model, h.Name, state, table.Grouped(h.Cloud.Busy))
		}
	}
	return t
}

func (s *serverStatus) ladders(now time.Time) *table.Table {
	t := &table.Table{Head: []string{"LADDER OF", "STATE", "FOR", "REASON"}}
	for _, l := range s.Ladders {
		since := ""
		if at, err := time.Parse(time.RFC3339, l.Since); err == nil {
			since = table.Span(max(0, now.Sub(at)))
		}
		t.Row(l.Model, l.State, since, l.Reason)
	}
	return t
}

func (q queueStatus) String() string {
	if q.Waiting == 0 {
		return "empty"
	}
	text := fmt.Sprintf("%d waiting (%d interactive, %d batch), %s", q.Waiting, q.Interactive, q.Batch, table.Size(q.Bytes))
	var callers []string
	for _, caller := range slices.Sorted(maps.Keys(q.Callers)) {
		callers = append(callers, fmt.Sprint(caller, ": ", q.Callers[caller]))
	}
	if callers != nil {
		text += "; " + strings.Join(callers, ", ")
	}
	return text
}

func (c callStatus) String() string {
	if c.Calls == 0 {
		return "none yet"
	}
	return fmt.Sprintf("%d: %s", c.Calls, counts{
		{c.Served, "answered"},
		{c.Failed, "failed"},
		{c.Cancelled, "cancelled or timed out on a host"},
		{c.GaveUp, "cancelled or timed out in the queue"},
		{c.Refused, "refused"},
		{c.Open, "in progress"},
	})
}

func (c callStatus) requests() string {
	text := fmt.Sprintf("%d requests in progress", c.InFlight)
	if more := (counts{{c.TriesFailed, "attempts failed"}, {c.Retried, "retries"}, {c.Hedged, "hedges"}}).String(); more != "none" {
		text += "; " + more
	}
	if c.Pace > 0 {
		text += fmt.Sprintf("; %.1f s per call", c.Pace)
	}
	return text
}

func (j jobsStatus) String() string {
	text := fmt.Sprintf("%d in progress, %d ended", j.Underway, j.Ended)
	if j.Underway > 0 {
		text += fmt.Sprintf("; the oldest began %s ago", table.Span(time.Duration(j.Oldest*float64(time.Second))))
	}
	return text
}

func (c cacheStatus) String() string {
	text := fmt.Sprintf("%d answers, %s; %d hits, %d misses, %d shared", c.Entries, table.Size(c.Bytes), c.Hits, c.Misses, c.Coalesced)
	if c.Saved > 0 {
		text += "; saved " + table.Span(time.Duration(c.Saved*float64(time.Second)))
	}
	if s := c.Semantic; s != nil {
		text += fmt.Sprintf("; semantic: %d prompts, %d hits", s.Entries, s.Hits+s.Shadow)
	}
	return text
}

func (r *redisStatus) String() string {
	text := "reachable"
	if !r.Reachable {
		text = "not reachable"
	}
	if r.Reason != "" {
		text += " (" + r.Reason + ")"
	}
	return text + fmt.Sprintf("; %d replicas, %d hits, %d misses", r.Replicas, r.Hits, r.Misses)
}

// counts are numbers of things, of which only those that occurred are named.
type counts []struct {
	n    uint64
	what string
}

func (c counts) String() string {
	var parts []string
	for _, count := range c {
		if count.n > 0 {
			parts = append(parts, fmt.Sprint(count.n, " ", count.what))
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}
