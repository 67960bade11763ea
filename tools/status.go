package tools

import (
	"context"
	"fmt"
	"math"
	"time"

	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/cache"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/semantic"
	"ollama-mcp/pool"
)

func status(d Deps, a about) mcpserver.ServerTool {
	return define(d, a, func(ctx context.Context, _ statusIn, _ *call) (*result, error) {
		if d.Refresh != nil {
			d.Refresh(ctx)
		}
		who := caller.FromContext(ctx)
		s := d.Engine.Status(who)
		rates := s.Hosts.Rates
		out := statusOut{
			Hosts: []hostStatus{}, Queue: queueStatusOf(s.Hosts.Queue, who), Calls: callStatusOf(s.Hosts),
			Rates: rateStatus{rounded(rates.Calls), rounded(rates.Served), rounded(rates.Failed), rounded(rates.Growth)},
			Cache: cacheStatusOf(s.Cache),
		}
		for _, h := range s.Hosts.Hosts {
			out.Hosts = append(out.Hosts, hostStatusOf(h, who))
		}
		if s.Semantic != nil {
			out.Cache.Semantic = semanticStatusOf(s.Semantic)
		}
		for _, l := range s.Ladders {
			out.Ladders = append(out.Ladders, ladderStatus{l.Model, string(l.State), l.Since.UTC().Format(time.RFC3339), l.Reason})
		}
		return &result{data: &out}, nil
	})
}

// hostStatusOf shows a caller no models but those that it may use.
func hostStatusOf(h pool.HostStats, who caller.Caller) hostStatus {
	out := hostStatus{
		Name: h.Name, Healthy: h.Well, Reason: h.Why, Version: h.Version,
		Busy: h.Busy, Slots: h.Slots, Learned: h.Learned, Fewest: h.Fewest, Most: h.Most, Changed: h.Reason,
		Breaker: h.Breaker, Latency: rounded(h.Latency.Seconds()), Installed: max(h.Installed, 0),
	}
	if !h.Until.IsZero() {
		out.Until = h.Until.UTC().Format(time.RFC3339)
	}
	for _, m := range h.Ejected {
		if who.MayUse(m.Model) {
			out.Ejected = append(out.Ejected, ejected{m.Model, m.Breaker, m.Why})
		}
	}
	for _, m := range h.Checked {
		if !who.MayUse(m.Model) {
			continue
		}
		loaded := loadedStatus{Model: m.Model, Context: m.NumCtx, VRAM: rounded(m.VRAM)}
		if in := time.Until(m.Expires); !m.Expires.IsZero() && in < never {
			loaded.Expires = m.Expires.UTC().Format(time.RFC3339)
		}
		out.Loaded = append(out.Loaded, loaded)
	}
	if h.Cloud != nil {
		out.Cloud = cloudStatusOf(h.Cloud, who)
	}
	return out
}

func cloudStatusOf(c *pool.CloudStats, who caller.Caller) *cloudStatus {
	out := &cloudStatus{Models: []string{}, Healthy: c.Well, Reason: c.Why, Busy: c.Busy, Slots: c.Slots, Breaker: c.Breaker}
	for _, model := range c.Models {
		if who.MayUse(model) {
			out.Models = append(out.Models, model)
		}
	}
	if !c.Until.IsZero() {
		out.Until = c.Until.UTC().Format(time.RFC3339)
	}
	return out
}

// never is less than the expiry that Ollama reports for a model that stays loaded for ever,
// some 290 years.
const never = 100 * 365 * 24 * time.Hour

func callStatusOf(s pool.Stats) callStatus {
	return callStatus{
		Calls: s.Calls, Served: s.Served, Failed: s.Failed, Cancelled: s.Cancelled, GaveUp: s.GaveUp, Refused: s.Refused, Open: s.Open,
		FailedAttempts: s.TriesFailed, Retries: s.Retried, RetryBudget: s.RetriesLeft, Hedges: s.Hedged, HedgesWon: s.HedgesWon,
		InFlight: s.InFlight, Pace: rounded(s.Pace.Seconds()), PerSecond: rounded(s.PerSecond),
	}
}

// queueStatusOf shows a caller no other callers, unless it is an administrator.
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

func semanticStatusOf(s *inference.SemanticStats) *semanticStatus {
	out := &semanticStatus{
		Entries: s.Entries, Bytes: s.Bytes, Hits: s.Hits, Shadow: s.Shadow, Cached: s.VectorsCached, Requests: s.EmbeddingRequests,
		Refused: make(map[string]int), Nearest: make(map[string]int),
	}
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

// rounded is for people to read.
func rounded(f float64) float64 { return math.Round(f*1000) / 1000 }
