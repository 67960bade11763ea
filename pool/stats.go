package pool

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/breaker"
	"ollama-mcp/internal/fairqueue"
	"ollama-mcp/internal/order"
)

// Stats describe the state of a pool and count what it has done.
type Stats struct {
	Hosts []HostStats
	Queue QueueStats

	Totals
	RetriesLeft int           // retries that the budget allows now
	Pace        time.Duration // recent mean time for which a call holds a slot; 0 if not known
	PerSecond   float64       // throughput of the hosts that are well while all their slots are taken; 0 if not known
	Rates       Rates
}

// Rates are events per second, in about the last minute.
type Rates struct {
	Calls  float64 // requests that came
	Served float64 // requests that were answered
	Failed float64 // requests that failed
	Growth float64 // of the queue, in calls; less than 0 while it shrinks
}

// Totals count since the pool was made.
type Totals struct {
	Calls     uint64 // requests received: the sum of the next six
	Served    uint64 // requests that were answered
	Failed    uint64 // requests that had a slot and did not succeed
	Cancelled uint64 // requests that were cancelled or timed out after they had a slot
	GaveUp    uint64 // requests that were cancelled or timed out while they were queued
	Refused   uint64 // requests that never had a slot: queue full, deadline too short, or no usable host
	Open      uint64 // requests that wait, are on a host, or pause between tries now

	TriesFailed uint64 // attempts that failed because of the host
	Retried     uint64 // attempts beyond the first, hedges not included
	Hedged      uint64 // attempts on a second host, beside one that was late
	HedgesWon   uint64 // hedges that answered first
	InFlight    int    // attempts on all hosts now
}

// Change is a host, or a model on a host, that fares worse or better than before.
type Change struct {
	Host  string
	Model string // "" for the host as a whole
	Well  bool   // it is sent calls again
	Why   string // it is not; "" if it is
}

// changed tells of changes, without the lock.
func (p *Pool) changed(all ...Change) {
	if p.opts.OnChange == nil {
		return
	}
	for _, c := range all {
		p.opts.OnChange(c)
	}
}

// trusted reports whether neither a check nor calls have shown that something is wrong with the
// host. Time alone does not change that.
func (h *host) trusted(now time.Time) bool {
	return !h.down && h.breaker.State(now) == breaker.Closed
}

// changeOf is the change of a host that was trusted before, or was not; none if it is as it was.
func (h *host) changeOf(before bool, now time.Time) []Change {
	if after := h.trusted(now); after == before || h.isCloudPart {
		return nil
	} else if after {
		return []Change{{Host: h.name, Well: true}}
	}
	return []Change{{Host: h.name, Why: wordsOf(h.why(now))}}
}

func wordsOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// ended counts a request that is over. lent says whether it had a slot at some time.
func (p *Pool) ended(ctx context.Context, lent bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totals.Open--
	now := time.Now()
	switch {
	case err == nil:
		p.totals.Served++
		p.rates.served.add(now, 1)
	case ctx.Err() != nil && lent:
		p.totals.Cancelled++
	case ctx.Err() != nil:
		p.totals.GaveUp++
	case lent:
		p.totals.Failed++
		p.rates.failed.add(now, 1)
	default:
		p.totals.Refused++
	}
}

// HostStats describe a host.
type HostStats struct {
	Name    string
	Well    bool
	Answers bool   // it is well, and not all models that it is known to have are ejected or resting
	Why     string // why it is not well, or still on trial; "" otherwise
	Version string // "" if not known

	Weight float64 // share of the calls relative to other hosts
	// Busy is the number of calls on the host, and Slots the number that it may have at once. If
	// slots are learned, that is done for each model, and Slots is the sum over those in memory.
	Busy, Slots  int
	Learned      bool         // the number of slots is learned
	Fewest, Most int          // bounds of Slots; both equal it if it is configured
	Models       []ModelSlots // models in memory or in use, by name; nil if Slots is configured
	Reason       string       // of the last change of the slots of the model used last; "" if Slots is configured

	Breaker   string        // "closed", "open" or "half-open"
	Until     time.Time     // when an open breaker lets a trial call through; the zero Time when closed
	Ejected   []ModelHealth // models that are not well on a host that is, by name
	Latency   time.Duration // recent mean of answered calls, loading excluded; 0 if there were none
	Installed int           // number of models; -1 if not known
	Loaded    []string      // models believed to be in memory
	Checked   []Loaded      // models that the last check found in memory

	Cloud *CloudStats // the host's part in Ollama's cloud; nil if there is none
}

// ModelSlots are the learned slots of a model on a host.
type ModelSlots struct {
	Model       string // "" for calls of no model
	Busy, Slots int    // as in HostStats
	Reason      string // of the last change of Slots
}

// ModelHealth is a model whose circuit breaker on a host is not closed.
type ModelHealth struct {
	Model   string    // "" for calls of no model
	Breaker string    // "open" or "half-open"
	Until   time.Time // when an open breaker lets a trial call through
	Why     string
}

// ejected returns the models whose circuit breakers are not closed, those in Ollama's cloud
// included.
func (h *host) ejected(now time.Time) (all []ModelHealth) {
	for part := h; part != nil; part = part.cloudPart() {
		for name, own := range part.models.All() {
			if why := own.why(now); why != nil {
				all = append(all, ModelHealth{Model: name, Breaker: own.breaker.State(now).String(), Until: own.breaker.Until(), Why: why.Error()})
			}
		}
	}
	order.Stable(all, func(a, b ModelHealth) int { return strings.Compare(a.Model, b.Model) })
	return all
}

// answers reports whether the host may answer a call: it is well, and so is one of its models.
func (h *host) answers(now time.Time) bool {
	out := make(map[string]bool)
	for part := h; part != nil; part = part.cloudPart() {
		for name, own := range part.models.All() {
			if name == "" || !part.mayHave(name) {
				continue
			}
			if part.well(now) && own.breaker.Ready(now) && !now.Before(own.rest.until()) {
				return true
			}
			out[name] = true
		}
	}
	untried := len(h.installed) == 0 && len(out) == 0
	for name := range h.installed {
		untried = untried || !out[name]
	}
	return untried && h.well(now)
}

func (h *host) modelSlots(now time.Time) (all []ModelSlots) {
	for name, own := range h.models.All() {
		if _, loaded := h.memory[name]; loaded || own.lent > 0 {
			all = append(all, ModelSlots{Model: name, Busy: own.lent, Slots: own.slots(now), Reason: own.limit.Reason()})
		}
	}
	order.Stable(all, func(a, b ModelSlots) int { return strings.Compare(a.Model, b.Model) })
	return all
}

// QueueStats describe the waiting calls.
type QueueStats struct {
	Waiting            int
	Bytes              int64
	Interactive, Batch int
	Callers            map[string]int // waiting calls by caller, unnamed callers excluded
	Models             map[string]int // waiting calls by model
	Oldest             time.Duration  // longest wait so far; 0 if nothing waits
}

// Stats returns the state of the pool and its counters. It does no input or output, and the
// result shares nothing with the pool.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	s := Stats{
		Totals: p.totals, RetriesLeft: p.budget.Left(now), Pace: p.pace.mean,
		Queue: p.queueStats(now), Rates: p.rates.stats(now),
	}
	for _, h := range p.hosts {
		if h.isCloudPart {
			continue
		}
		s.Hosts = append(s.Hosts, p.hostStats(h, now))
		if h.well(now) && h.full.samples >= wellKnown && h.full.mean > 0 {
			s.PerSecond += 1 / h.full.mean.Seconds()
		}
	}
	return s
}

func (p *Pool) hostStats(h *host, now time.Time) HostStats {
	s := h.stats(now)
	if !s.Well && p.serves(h, groupKey{}, now) {
		s.Why += "; still used, since no other host is available"
	}
	return s
}

func (h *host) stats(now time.Time) HostStats {
	s := HostStats{
		Name: h.name, Well: h.well(now), Answers: h.answers(now), Version: h.version,
		Weight: h.weight, Busy: len(h.lent), Slots: h.slots(now), Learned: h.learned, Fewest: h.most, Most: h.most,
		Breaker: h.breaker.State(now).String(), Until: h.breaker.Until(), Ejected: h.ejected(now), Latency: h.took.mean,
		Installed: -1, Loaded: slices.Sorted(maps.Keys(h.memory)), Checked: slices.Clone(h.loaded), Cloud: h.cloudStats(now),
	}
	if why := h.why(now); why != nil {
		s.Why = why.Error()
	}
	if h.learned {
		s.Fewest, s.Models = 1, h.modelSlots(now)
		s.Reason = newLimit(h.most).Reason()
		if own := known(&h.models, h.lastModel); own != nil {
			s.Reason = own.limit.Reason()
		}
	}
	if h.installed != nil {
		s.Installed = len(h.installed)
	}
	return s
}

func (p *Pool) queueStats(now time.Time) QueueStats {
	s := QueueStats{Waiting: p.queue.Len(), Bytes: p.queue.Size(), Callers: p.queue.Callers()}
	s.Interactive, _ = p.queue.LenOf(fairqueue.Interactive)
	s.Batch, _ = p.queue.LenOf(fairqueue.Batch)
	delete(s.Callers, "")
	if s.Waiting == 0 {
		return s
	}
	s.Models = make(map[string]int)
	for _, t := range p.queue.WithKey(func(groupKey) bool { return true }) {
		s.Models[t.Key.model.model]++
		s.Oldest = max(s.Oldest, now.Sub(t.Value.queued))
	}
	return s
}
