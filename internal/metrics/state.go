package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"ollama-mcp/internal/inference"
	"ollama-mcp/pool"
)

// ofState are the families that are read when somebody asks for them.
var ofState = []id{
	requests, running, saturation, queueDepth, queueBytes, queueOldest, callerWaiting, modelWaiting,
	hostUp, hostSlots, hostLatency, hostModels, modelSlots, breakerState, modelsEjected, retriesLeft, hedges,
	cacheLookups, cacheEntries, cacheBytes, cacheRemoved, cacheSaved, semanticLookups, redisUp, redisReplicas, redisLookups, redisFailures, jobsKept, jobsOldest, ladderState,
	providerUp, providerSlots, providerWaiting, providerRequests, providerBreaker,
	budgetUsed, budgetLimit, keyExpires, callLogDropped, buildInfo,
}

var breakerStates = []string{"closed", "half-open", "open"}

// state collects the metrics of ofState.
type state struct{ *Metrics }

// Describe implements prometheus.Collector.
func (s *state) Describe(to chan<- *prometheus.Desc) {
	for _, f := range ofState {
		to <- desc(f)
	}
}

func desc(f id) *prometheus.Desc {
	return prometheus.NewDesc(families[f].name, families[f].help, families[f].labels, nil)
}

// Collect implements prometheus.Collector.
func (s *state) Collect(to chan<- prometheus.Metric) {
	c := s.read()
	for series, value := range c {
		to <- series.metric(value)
	}
}

func (s *state) read() collection {
	s.reading.Lock()
	defer s.reading.Unlock()
	c := make(collection)
	c.add(buildInfo, 1, clean(s.opts.Version), goVersion())
	if s.opts.Status != nil {
		status := s.opts.Status()
		s.ofPool(c, status.Hosts)
		for _, h := range status.Hosts.Hosts {
			s.ofHost(c, h)
		}
		s.ofCaches(c, status)
		for _, l := range status.Ladders {
			c.add(ladderState, 1, s.models.of(canonical(l.Model), false), string(l.State))
		}
	}
	if s.opts.Jobs != nil {
		n := s.opts.Jobs()
		c.add(jobsKept, float64(n.Underway), "underway")
		c.add(jobsKept, float64(n.Ended), "ended")
		c.add(jobsOldest, n.Oldest.Seconds())
	}
	if s.opts.Keys != nil {
		for _, k := range s.opts.Keys() {
			ofKey(c, s.caller(k.Caller), k)
		}
	}
	if s.opts.Dropped != nil {
		bufferFull, disk := s.opts.Dropped()
		c.add(callLogDropped, float64(bufferFull), "buffer_full")
		c.add(callLogDropped, float64(disk), "disk")
	}
	if s.opts.Providers != nil {
		for name, stats := range s.opts.Providers() {
			ofProvider(c, clean(name), stats)
		}
	}
	return c
}

func (s *state) ofPool(c collection, p pool.Stats) {
	ofTotals(c, requests, p.Totals)
	c.add(running, float64(p.InFlight))
	slots := 0
	for _, h := range p.Hosts {
		if h.Well {
			slots += h.Slots
		}
	}
	if slots > 0 { // or the ratio means nothing
		c.add(saturation, float64(p.InFlight+p.Queue.Waiting)/float64(slots))
	}
	c.add(queueDepth, float64(p.Queue.Interactive), "interactive")
	c.add(queueDepth, float64(p.Queue.Batch), "batch")
	c.add(queueBytes, float64(p.Queue.Bytes))
	c.add(queueOldest, p.Queue.Oldest.Seconds())
	for who, n := range p.Queue.Callers {
		c.add(callerWaiting, float64(n), s.caller(who))
	}
	for model, n := range p.Queue.Models {
		c.add(modelWaiting, float64(n), s.models.of(model, false))
	}
	c.add(retriesLeft, float64(p.RetriesLeft))
	c.add(hedges, float64(p.HedgesWon), "won")
	c.add(hedges, float64(p.Hedged-min(p.Hedged, p.HedgesWon)), "lost")
}

// ofTotals counts the requests to a pool that are over.
func ofTotals(c collection, to id, t pool.Totals, labels ...string) {
	for _, o := range []struct {
		outcome string
		n       uint64
	}{{"served", t.Served}, {"failed", t.Failed}, {"cancelled", t.Cancelled}, {"gave_up", t.GaveUp}, {"refused", t.Refused}} {
		c.add(to, float64(o.n), append(slices.Clip(labels), o.outcome)...)
	}
}

func (s *state) ofHost(c collection, h pool.HostStats) {
	name := clean(h.Name)
	c.add(hostUp, truth(h.Well), name)
	ofSlots(c, hostSlots, h.Busy, h.Slots, name)
	if h.Latency > 0 {
		c.add(hostLatency, h.Latency.Seconds(), name)
	}
	if h.Installed >= 0 {
		c.add(hostModels, float64(h.Installed), name, "installed")
	}
	c.add(hostModels, float64(len(h.Loaded)), name, "loaded")
	for _, m := range h.Models {
		ofSlots(c, modelSlots, m.Busy, m.Slots, name, s.models.of(m.Model, false))
	}
	ofBreaker(c, breakerState, h.Breaker, name)
	c.add(modelsEjected, float64(len(h.Ejected)), name)
	if h.Cloud != nil {
		ofBreaker(c, breakerState, h.Cloud.Breaker, name+" (cloud)")
	}
}

func ofSlots(c collection, to id, busy, slots int, labels ...string) {
	c.add(to, float64(busy), append(slices.Clip(labels), "busy")...)
	c.add(to, float64(max(0, slots-busy)), append(slices.Clip(labels), "free")...)
}

func ofBreaker(c collection, to id, is, name string) {
	for _, state := range breakerStates {
		c.add(to, truth(state == is), name, state)
	}
}

func (s *state) ofCaches(c collection, status inference.Status) {
	cache := status.Cache
	c.add(cacheLookups, float64(cache.Hits), "hit")
	c.add(cacheLookups, float64(cache.Misses), "miss")
	c.add(cacheLookups, float64(cache.Coalesced), "coalesced")
	if r := status.Shared; r != nil {
		c.add(cacheLookups, float64(cache.Shared), "shared")
		c.add(redisUp, truth(r.Up && r.Reason == ""))
		c.add(redisReplicas, float64(r.Replicas))
		c.add(redisLookups, float64(r.Hits), "hit")
		c.add(redisLookups, float64(r.Misses), "miss")
		c.add(redisFailures, float64(r.Failures), "command")
		c.add(redisFailures, float64(r.Unreadable), "unreadable")
		c.add(redisFailures, float64(r.TooLarge), "too_large")
	}
	c.add(cacheEntries, float64(cache.Entries))
	c.add(cacheBytes, float64(cache.Bytes))
	c.add(cacheRemoved, float64(cache.Evicted), "evicted")
	c.add(cacheRemoved, float64(cache.Expired), "expired")
	c.add(cacheRemoved, float64(cache.TooLarge), "too_large")
	c.add(cacheRemoved, float64(cache.CrowdedOut), "crowded_out")
	c.add(cacheSaved, cache.Saved.Seconds())
	if status.Semantic == nil {
		return
	}
	c.add(semanticLookups, float64(status.Semantic.Hits), "hit")
	c.add(semanticLookups, float64(status.Semantic.Shadow), "shadow")
	for why, n := range status.Semantic.Refused {
		c.add(semanticLookups, float64(n), strings.ReplaceAll(string(why), " ", "_"))
	}
}

func ofKey(c collection, who string, k Key) {
	if who == other { // whose numbers would be those of several
		return
	}
	if k.CallsPerDay > 0 {
		c.add(budgetUsed, float64(k.Calls), who, "calls")
		c.add(budgetLimit, float64(k.CallsPerDay), who, "calls")
	}
	if k.TokensPerDay > 0 {
		c.add(budgetUsed, float64(k.Tokens), who, "tokens")
		c.add(budgetLimit, float64(k.TokensPerDay), who, "tokens")
	}
	if !k.Expires.IsZero() {
		c.add(keyExpires, float64(k.Expires.Unix()), who)
	}
}

func ofProvider(c collection, name string, p pool.Stats) {
	ofTotals(c, providerRequests, p.Totals, name)
	c.add(providerWaiting, float64(p.Queue.Waiting), name)
	for _, h := range p.Hosts { // there is one
		c.add(providerUp, truth(h.Well), name)
		ofSlots(c, providerSlots, h.Busy, h.Slots, name)
		ofBreaker(c, providerBreaker, h.Breaker, name)
	}
}

// collection holds values by their labels. Names that are not told apart share a label, and
// so their values are added up: a series that comes twice would spoil the whole scrape.
type collection map[seriesID]float64

// seriesID is the family of a time series, and its labels.
type seriesID struct {
	of     id
	labels [maxLabels]string
}

// maxLabels is the most labels that a family of ofState has.
const maxLabels = 3

func (c collection) add(to id, value float64, labels ...string) {
	s := seriesID{of: to}
	copy(s.labels[:], labels)
	c[s] += value
}

func (s seriesID) metric(value float64) prometheus.Metric {
	f, kind := &families[s.of], prometheus.GaugeValue
	if f.kind == counter {
		kind = prometheus.CounterValue
	}
	return prometheus.MustNewConstMetric(desc(s.of), kind, value, s.labels[:len(f.labels)]...)
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
