package pool

import (
	"time"

	"ollama-mcp/internal/limiter"
	"ollama-mcp/internal/lru"
)

// mostModels is how many models the pool, and each host, remember. A further model replaces the
// one that was used least recently.
const mostModels = 256

// modelTimes is how long calls of a model take on any host.
type modelTimes struct {
	held pace      // time for which they hold a slot, loading excluded
	load pace      // time for loading, according to the calls that waited for it
	paid time.Time // when the loading that began last should end; see hasPaid

	on     []*hostModel // the model on each host; see Pool.onHosts
	holder *host        // that had the model in memory when somebody looked; nil before. It is looked at first
}

// hostModel is what is known of a model on one host.
type hostModel struct {
	health
	limit *limiter.Limiter // of concurrent calls; nil if the slots of the host are configured
	lent  int              // calls of the model that are on the host

	held     pace      // time for which calls hold a slot, loading excluded
	tried    time.Time // when a call last began, or was answered
	answered time.Time // when a call was last answered
	waited   time.Time // since when calls have waited for the model to be loaded; the zero Time if none do
	crashed  time.Time // when the process that ran the model last died; the zero Time if never
	sharing  sharing
	silence  silence
	rest     rest // that the host has asked for, for calls of this model
	context  int  // largest context, in tokens, that the host has chosen itself; 0 if not known
}

// slots returns the learned number of slots for the model.
func (m *hostModel) slots(now time.Time) int {
	if m.lent == 0 {
		m.limit.Idle(now)
	}
	return m.limit.Limit()
}

// hasSlot reports whether there is a learned slot for another call of the model, beside so many calls of
// other pools. It is so for a model of which nothing is known.
func (m *hostModel) hasSlot(elsewhere int, now time.Time) bool {
	return m == nil || m.lent+elsewhere < m.slots(now)
}

// timesOf returns what is known of the times of a model's calls.
func (p *Pool) timesOf(model string) *modelTimes {
	times, ok := p.models.Get(model)
	if !ok {
		times = new(modelTimes)
		p.models.Set(model, times, mostModels)
	}
	return times
}

// known returns what is known of a model; nil if nothing is.
func known[T any](models *lru.Map[string, *T], name string) *T {
	m, _ := models.Get(name)
	return m
}

// model returns what is known of a model on the host, and begins to record it.
func (h *host) model(name string) *hostModel {
	m, ok := h.models.Get(name)
	if !ok {
		m = &hostModel{health: newHealth()}
		if h.learned {
			m.limit = newLimit(h.most)
		}
		h.models.Set(name, m, mostModels)
		h.slotless = false // another model may have been forgotten, and its limit with it
	}
	return m
}

// knownFor is how long the measured speed of a host is trusted without a new measurement.
const knownFor = time.Minute
