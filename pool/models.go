package pool

import (
	"time"

	"ollama-mcp/internal/limiter"
	"ollama-mcp/internal/lru"
)

// mostModels is how many models are remembered, by the pool and by each host. A further
// one takes the place of the one that was used least recently.
const mostModels = 256

// modelTimes is how long calls of a model take on any host.
type modelTimes struct {
	held pace      // a slot, less the time for loading
	load pace      // loading, by the calls that had to wait for it
	paid time.Time // when the load that was begun last should be over; see hasPaid
}

// hostModel is what is known of a model on one host.
type hostModel struct {
	health
	limit *limiter.Limiter // of calls at once; nil if the slots of the host are given
	lent  int              // calls of the model that are on the host

	held     pace      // a slot, less the time for loading
	tried    time.Time // when a call last began, or was answered
	answered time.Time // when a call was last answered
	waited   time.Time // since when calls have waited in vain for the model to be loaded; or the zero Time
	crashed  time.Time // when the process that ran the model last died; the zero Time if never
	sharing  sharing
	silence  silence
	rest     rest // that the host asked for with this model
	context  int  // tokens that the host chose when the options left it open, at most; 0 if not known
}

// slots is how many calls of the model the host is given at once, where that is learned.
func (m *hostModel) slots(now time.Time) int {
	if m.lent == 0 {
		m.limit.Idle(now)
	}
	return m.limit.Limit()
}

// timesOf is what is known of how long calls of a model take, on any host.
func (p *Pool) timesOf(model string) *modelTimes {
	times, ok := p.models.Get(model)
	if !ok {
		times = new(modelTimes)
		p.models.Set(model, times, mostModels)
	}
	return times
}

// known returns what is known of a model, nil if nothing is.
func known[T any](models *lru.Map[string, *T], name string) *T {
	m, _ := models.Get(name)
	return m
}

// model is what is known of a model on the host.
func (h *host) model(name string) *hostModel {
	m, ok := h.models.Get(name)
	if !ok {
		m = &hostModel{health: newHealth()}
		if h.learned {
			m.limit = newLimit(h.most)
		}
		h.models.Set(name, m, mostModels)
	}
	return m
}

// knownFor is how long what a host was like is believed without trying it again.
const knownFor = time.Minute
