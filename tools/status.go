package tools

import (
	"context"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/cache"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/route"
	"ollama-mcp/internal/semantic"
	"ollama-mcp/pool"
)

type statusIn struct{}

// statusOut has no descriptions but its names: each word of a schema costs every
// client.
type statusOut struct {
	Hosts []hostStatus `json:"hosts"`
	Queue queueStatus  `json:"queue"`
	Calls callStatus   `json:"calls"`

	Cache   cacheStatus    `json:"cache"`
	Ladders []ladderStatus `json:"ladders,omitempty"` // those that are not normal
}

type hostStatus struct {
	Name      string         `json:"name"`
	Well      bool           `json:"well"`
	Why       string         `json:"why,omitempty"` // it is not well
	Version   string         `json:"version,omitempty"`
	Busy      int            `json:"busy"`
	Slots     int            `json:"slots"`
	Learned   bool           `json:"slots_learned"`
	Reason    string         `json:"slots_reason,omitempty"`
	Breaker   string         `json:"breaker"`
	Until     string         `json:"ejected_until,omitempty"`
	Latency   float64        `json:"latency_seconds,omitempty"`
	Installed int            `json:"models_installed,omitempty"`
	Loaded    []loadedStatus `json:"models_loaded,omitempty"`
}

type loadedStatus struct {
	Model   string  `json:"model"`
	Context int     `json:"context,omitempty"`
	VRAM    float64 `json:"vram_share"`
}

type queueStatus struct {
	Waiting     int            `json:"waiting"`
	Interactive int            `json:"interactive"`
	Batch       int            `json:"batch"`
	Bytes       int64          `json:"bytes"`
	Callers     map[string]int `json:"callers,omitempty"` // how many calls of each wait
}

type callStatus struct {
	Calls       uint64  `json:"calls"`
	InFlight    int     `json:"in_flight"`
	Served      uint64  `json:"served"`
	Failed      uint64  `json:"failed"`
	Retried     uint64  `json:"retried"`
	RetriesLeft int     `json:"retries_left"`
	Hedged      uint64  `json:"hedged"`
	HedgesWon   uint64  `json:"hedges_won"`
	Refused     uint64  `json:"refused"`
	GaveUp      uint64  `json:"gave_up"`
	PerSecond   float64 `json:"capacity_per_second,omitempty"`
}

type cacheStatus struct {
	Entries   int64   `json:"entries"`
	Bytes     int64   `json:"bytes"`
	Hits      uint64  `json:"hits"`
	Misses    uint64  `json:"misses"`
	Coalesced uint64  `json:"coalesced"`
	Refused   uint64  `json:"refused"` // too large, or crowded out by what is read more often
	Evicted   uint64  `json:"evicted"`
	Expired   uint64  `json:"expired"`
	Saved     float64 `json:"seconds_saved"`

	Semantic *semanticStatus `json:"semantic,omitempty"`
}

type semanticStatus struct {
	Entries int            `json:"entries"`
	Bytes   int64          `json:"bytes"`
	Hits    uint64         `json:"hits"`
	Shadow  uint64         `json:"would_be_hits"`
	Kept    uint64         `json:"vectors_kept"`  // of questions, that were not asked for again
	Asked   uint64         `json:"vectors_asked"` // for, of an embedding model
	Refused map[string]int `json:"refused"`       // look-ups, by the reason why they found nothing
	Nearest map[string]int `json:"similarity"`    // look-ups, by how near the nearest question was, at most
}

type ladderStatus struct {
	Model  string `json:"model"`
	State  string `json:"state"`
	Since  string `json:"since"`
	Reason string `json:"reason"`
}

func status(d Deps) mcpserver.ServerTool {
	return define(d, about{
		name: "status", title: "Status of hosts, queue and cache", hints: hints{readOnly: true, idempotent: true},
		text:   "Tell how hosts, queue and cache do: slots, models in memory, failures, retries, hits.",
		output: reflect.TypeFor[statusOut](),
	}, func(ctx context.Context, _ statusIn, _ *call) (*result, error) {
		s := d.Hosts.Stats()
		out := statusOut{Hosts: []hostStatus{}, Queue: queueStatusOf(s.Queue, caller.FromContext(ctx)), Calls: callStatus{
			Calls: s.Calls, InFlight: s.InFlight, Served: s.Served, Failed: s.Failed, Retried: s.Retried,
			RetriesLeft: s.RetriesLeft, Hedged: s.Hedged, HedgesWon: s.HedgesWon, Refused: s.Refused, GaveUp: s.GaveUp, PerSecond: rounded(s.PerSecond),
		}}
		for _, h := range s.Hosts {
			out.Hosts = append(out.Hosts, hostStatusOf(h))
		}
		out.Cache = cacheStatusOf(d.Answers.Stats())
		out.Cache.Semantic = d.Likeness.status()
		out.Ladders = d.ladders.status(caller.FromContext(ctx))
		return &result{data: out}, nil
	})
}

func hostStatusOf(h pool.HostStats) hostStatus {
	out := hostStatus{
		Name: h.Name, Well: h.Well, Why: h.Why, Version: h.Version,
		Busy: h.Busy, Slots: h.Slots, Learned: h.Learned, Reason: h.Reason,
		Breaker: h.Breaker, Latency: rounded(h.Latency.Seconds()), Installed: max(h.Installed, 0),
	}
	if !h.Until.IsZero() {
		out.Until = h.Until.UTC().Format(time.RFC3339)
	}
	for _, m := range h.Checked {
		out.Loaded = append(out.Loaded, loadedStatus{m.Model, m.NumCtx, rounded(m.VRAM)})
	}
	return out
}

// queueStatusOf shows a caller nothing of others that could be told apart.
func queueStatusOf(q pool.QueueStats, who caller.Caller) queueStatus {
	out := queueStatus{Waiting: q.Waiting, Interactive: q.Interactive, Batch: q.Batch, Bytes: q.Bytes, Callers: q.Callers}
	if !who.Admin {
		out.Callers = nil
		if mine := q.Callers[who.ID]; mine > 0 {
			out.Callers = map[string]int{who.ID: mine}
		}
	}
	return out
}

func cacheStatusOf(s cache.Stats) cacheStatus {
	return cacheStatus{
		Entries: s.Entries, Bytes: s.Bytes, Hits: s.Hits, Misses: s.Misses, Coalesced: s.Coalesced,
		Refused: s.TooLarge + s.CrowdedOut, Evicted: s.Evicted, Expired: s.Expired, Saved: rounded(s.Saved.Seconds()),
	}
}

func (l *Likeness) status() *semanticStatus {
	if l == nil {
		return nil
	}
	s := l.tally.Stats()
	out := &semanticStatus{
		Hits: s.Hits, Shadow: s.Shadow, Kept: l.vectorsKept.Load(), Asked: l.vectorsAsked.Load(),
		Refused: make(map[string]int), Nearest: make(map[string]int),
	}
	out.Entries, out.Bytes = l.index.Size()
	for reason, n := range s.Refused {
		out.Refused[string(reason)] = int(n)
	}
	for i, n := range s.Similarity {
		if n > 0 {
			out.Nearest[fmt.Sprintf("%.2f", min(semantic.Buckets[i], 1))] = int(n)
		}
	}
	return out
}

// status are the ladders in trouble, of the models that somebody may use.
func (l *ladders) status(who caller.Caller) (all []ladderStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(l.all)) {
		if state, since, reason := l.all[name].state(); state != route.Normal && who.MayUse(name) {
			all = append(all, ladderStatus{strings.TrimSuffix(name, ":latest"), string(state), since.UTC().Format(time.RFC3339), reason})
		}
	}
	return all
}

// rounded is for people to read.
func rounded(f float64) float64 { return math.Round(f*1000) / 1000 }
