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
			out.Ladders = append(out.Ladders, ladderStatus{l.Model, string(l.State), timestamp(l.Since), l.Reason})
		}
		if s.Shared != nil {
			out.Redis = redisStatusOf(s.Shared, who)
		}
		if n := d.Jobs.Counts(); n.Underway+n.Ended > 0 {
			out.Jobs = &jobsStatus{n.Underway, n.Ended, rounded(n.Oldest.Seconds())}
		}
		if who.Admin && d.Dashboard != nil {
			out.Dashboard = d.Dashboard()
		}
		return &result{data: &out}, nil
	})
}

// hostStatusOf shows a caller no models but those that it may use.
func hostStatusOf(h pool.HostStats, who caller.Caller) hostStatus {
	out := hostStatus{
		Name: h.Name, Healthy: h.Well, Reason: h.Why, Version: h.Version,
		Busy: h.Busy, Slots: h.Slots, Learned: h.Learned, Fewest: h.Fewest, Most: h.Most, Changed: h.Reason,
		Breaker: h.Breaker, Latency: rounded(h.Latency.Seconds()), Installed: max(h.Installed, 0), Until: timestamp(h.Until),
	}
	for _, m := range h.Ejected {
		if who.MayUse(m.Model) {
			out.Ejected = append(out.Ejected, ejected{m.Model, m.Breaker, m.Why})
		}
	}
	for _, m := range h.Checked {
		if who.MayUse(m.Model) {
			out.Loaded = append(out.Loaded, loadedStatus{Model: m.Model, Context: m.NumCtx, VRAM: rounded(m.VRAM), Expires: unloading(m.Expires)})
		}
	}
	if h.Cloud != nil {
		out.Cloud = cloudStatusOf(h.Cloud, who)
	}
	return out
}

func cloudStatusOf(c *pool.CloudStats, who caller.Caller) *cloudStatus {
	out := &cloudStatus{Models: []string{}, Healthy: c.Well, Reason: c.Why, Busy: c.Busy, Slots: c.Slots, Breaker: c.Breaker, Until: timestamp(c.Until)}
	for _, model := range c.Models {
		if who.MayUse(model) {
			out.Models = append(out.Models, model)
		}
	}
	return out
}

// timestamp is a time as results have it; "" for the zero Time.
func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// unloading is when a model is unloaded; "" for never, or if that is not known.
func unloading(t time.Time) string {
	const never = 100 * 365 * 24 * time.Hour // less than the some 290 years that Ollama reports then
	if time.Until(t) >= never {
		return ""
	}
	return timestamp(t)
}

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

// redisStatusOf shows only administrators what is wrong, since that names addresses.
func redisStatusOf(s *cache.SharedState, who caller.Caller) *redisStatus {
	out := &redisStatus{
		Reachable: s.Up, Replicas: s.Replicas,
		Hits: s.Hits, Misses: s.Misses, Failures: s.Failures, Unreadable: s.Unreadable, TooLarge: s.TooLarge,
	}
	if who.Admin {
		out.Reason = s.Reason
	}
	return out
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

type statusIn struct{}

type statusOut struct {
	Hosts []hostStatus `json:"hosts" jsonschema:"Ollama servers"`
	Queue queueStatus  `json:"queue" jsonschema:"calls waiting for a slot"`
	Calls callStatus   `json:"calls" jsonschema:"counters since the start"`
	Rates rateStatus   `json:"rates" jsonschema:"calls per second"`

	Cache   cacheStatus    `json:"cache" jsonschema:"the answer cache"`
	Redis   *redisStatus   `json:"redis,omitempty" jsonschema:"what is shared with other replicas"`
	Ladders []ladderStatus `json:"ladders,omitempty" jsonschema:"models with fallbacks whose first model is in trouble"`
	Jobs    *jobsStatus    `json:"jobs,omitempty" jsonschema:"calls that go on in the background, of all callers"`

	Dashboard string `json:"dashboard,omitempty" jsonschema:"URL of the dashboard"`
	noted
}

type jobsStatus struct {
	Underway int     `json:"underway" jsonschema:"jobs that have not ended"`
	Ended    int     `json:"ended" jsonschema:"jobs whose results are kept"`
	Oldest   float64 `json:"oldest_seconds,omitempty" jsonschema:"time since the oldest that has not ended began"`
}

type hostStatus struct {
	Name      string         `json:"name"`
	Healthy   bool           `json:"healthy" jsonschema:"whether the host is sent calls"`
	Reason    string         `json:"reason,omitempty" jsonschema:"why the host is not healthy"`
	Version   string         `json:"version,omitempty" jsonschema:"version of Ollama"`
	Busy      int            `json:"busy" jsonschema:"slots in use"`
	Slots     int            `json:"slots" jsonschema:"calls the host may work on at once"`
	Learned   bool           `json:"slots_learned" jsonschema:"true if the number of slots follows from response times, false if it is configured"`
	Fewest    int            `json:"slots_fewest" jsonschema:"lower bound of slots"`
	Most      int            `json:"slots_most" jsonschema:"upper bound of slots"`
	Changed   string         `json:"slots_reason,omitempty" jsonschema:"why the number of slots last changed"`
	Breaker   string         `json:"breaker" jsonschema:"circuit breaker: closed, open (no calls) or half-open (one trial call)"`
	Until     string         `json:"ejected_until,omitempty" jsonschema:"when an open circuit allows a trial call"`
	Ejected   []ejected      `json:"models_ejected,omitempty" jsonschema:"models that fail on this host and are not asked of it for a while"`
	Latency   float64        `json:"latency_seconds,omitempty" jsonschema:"mean time of recent calls, without loading"`
	Installed int            `json:"models_installed,omitempty" jsonschema:"number of installed models"`
	Loaded    []loadedStatus `json:"models_loaded,omitempty" jsonschema:"models in memory at the last check"`
	Cloud     *cloudStatus   `json:"cloud,omitempty" jsonschema:"models whose prompts the host passes on to Ollama's cloud"`
}

// cloudStatus is the part of a host that is in Ollama's cloud, which has slots and a circuit
// breaker of its own.
type cloudStatus struct {
	Models  []string `json:"models" jsonschema:"those known to run there"`
	Healthy bool     `json:"healthy" jsonschema:"whether the cloud is sent calls"`
	Reason  string   `json:"reason,omitempty" jsonschema:"why the cloud is not healthy"`
	Busy    int      `json:"busy" jsonschema:"calls under way"`
	Slots   int      `json:"slots" jsonschema:"calls the cloud may work on at once"`
	Breaker string   `json:"breaker" jsonschema:"circuit breaker of the cloud"`
	Until   string   `json:"ejected_until,omitempty" jsonschema:"when an open circuit allows a trial call"`
}

type ejected struct {
	Model   string `json:"model"`
	Breaker string `json:"breaker" jsonschema:"open or half-open, as for a host"`
	Reason  string `json:"reason"`
}

type loadedStatus struct {
	Model   string  `json:"model"`
	Context int     `json:"context,omitempty" jsonschema:"context length it was loaded with, in tokens"`
	VRAM    float64 `json:"vram_share" jsonschema:"share of the model on the GPU, 0 to 1"`
	Expires string  `json:"expires_at,omitempty" jsonschema:"when it is unloaded; absent for never"`
}

type queueStatus struct {
	Waiting     int            `json:"waiting" jsonschema:"waiting calls"`
	Interactive int            `json:"interactive" jsonschema:"waiting calls of priority interactive"`
	Batch       int            `json:"batch" jsonschema:"waiting calls of priority batch"`
	Bytes       int64          `json:"bytes" jsonschema:"size of the waiting prompts"`
	Callers     map[string]int `json:"callers,omitempty" jsonschema:"waiting calls by caller"`
}

type callStatus struct {
	Calls          uint64  `json:"calls" jsonschema:"requests to the pool of hosts; the sum of the next six"`
	Served         uint64  `json:"served" jsonschema:"requests that were answered"`
	Failed         uint64  `json:"failed" jsonschema:"requests that had a slot and were not answered"`
	Cancelled      uint64  `json:"cancelled" jsonschema:"requests cancelled or timed out on a host"`
	GaveUp         uint64  `json:"cancelled_in_queue" jsonschema:"requests cancelled or timed out while queued"`
	Refused        uint64  `json:"refused" jsonschema:"requests that never had a slot: queue full, too little time, or no usable host"`
	Open           uint64  `json:"open" jsonschema:"requests under way"`
	FailedAttempts uint64  `json:"failed_attempts" jsonschema:"attempts that failed by a host's fault"`
	Retries        uint64  `json:"retries" jsonschema:"attempts after the first"`
	RetryBudget    int     `json:"retry_budget" jsonschema:"retries that are allowed now"`
	Hedges         uint64  `json:"hedges" jsonschema:"second attempts because a host was late"`
	HedgesWon      uint64  `json:"hedges_won" jsonschema:"hedges that answered first"`
	InFlight       int     `json:"in_flight" jsonschema:"attempts on hosts now"`
	Pace           float64 `json:"seconds_per_call,omitempty" jsonschema:"mean time that recent calls held a slot"`
	PerSecond      float64 `json:"capacity_per_second,omitempty" jsonschema:"calls per second while all slots were in use"`
}

type rateStatus struct {
	Calls  float64 `json:"calls" jsonschema:"calls that arrived"`
	Served float64 `json:"served" jsonschema:"calls that were answered"`
	Failed float64 `json:"failed" jsonschema:"calls that failed"`
	Growth float64 `json:"queue_growth" jsonschema:"change of the queue's length; negative while it shrinks"`
}

type cacheStatus struct {
	Entries   int64   `json:"entries" jsonschema:"cached answers"`
	Bytes     int64   `json:"bytes" jsonschema:"memory of the cached answers"`
	Hits      uint64  `json:"hits" jsonschema:"calls answered from the cache"`
	Misses    uint64  `json:"misses" jsonschema:"calls not found in the cache"`
	Coalesced uint64  `json:"coalesced" jsonschema:"calls that shared the answer of an identical call in flight"`
	Refused   uint64  `json:"refused" jsonschema:"answers not cached: too large, or less popular than those in their place"`
	Evicted   uint64  `json:"evicted" jsonschema:"answers removed to make room"`
	Expired   uint64  `json:"expired" jsonschema:"answers removed for their age"`
	Saved     float64 `json:"seconds_saved" jsonschema:"time that hits and shared answers would have taken"`

	Semantic *semanticStatus `json:"semantic,omitempty" jsonschema:"the semantic cache, which reuses answers for paraphrases"`
}

type redisStatus struct {
	Reachable  bool   `json:"reachable" jsonschema:"whether answers and limits are shared at the moment; if not, each server has its share of limits"`
	Reason     string `json:"reason,omitempty" jsonschema:"what is not shared, and why"`
	Replicas   int    `json:"replicas" jsonschema:"servers that share, this one included"`
	Hits       uint64 `json:"hits" jsonschema:"answers of other replicas that were found or waited for"`
	Misses     uint64 `json:"misses" jsonschema:"look-ups without one"`
	Failures   uint64 `json:"failures" jsonschema:"commands that failed or took too long"`
	Unreadable uint64 `json:"unreadable" jsonschema:"records that are broken or of another version"`
	TooLarge   uint64 `json:"too_large" jsonschema:"answers not shared for their size"`
}

type semanticStatus struct {
	Entries  int            `json:"entries" jsonschema:"remembered prompts"`
	Bytes    int64          `json:"bytes" jsonschema:"memory of the remembered prompts"`
	Hits     uint64         `json:"hits" jsonschema:"calls answered from a paraphrase"`
	Shadow   uint64         `json:"would_be_hits" jsonschema:"calls that shadow mode could have answered"`
	Cached   uint64         `json:"vectors_cached" jsonschema:"embeddings of prompts found in the cache"`
	Requests uint64         `json:"embedding_requests" jsonschema:"embedding requests sent for prompts to compare"`
	Refused  map[string]int `json:"refused" jsonschema:"look-ups that found nothing, by reason"`
	Nearest  map[string]int `json:"similarity" jsonschema:"look-ups by the similarity of the nearest prompt, in buckets by upper bound"`
}

type ladderStatus struct {
	Model  string `json:"model"`
	State  string `json:"state" jsonschema:"overloaded, degraded or recovering"`
	Since  string `json:"since"`
	Reason string `json:"reason"`
}
