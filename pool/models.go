package pool

import (
	"time"

	"ollama-mcp/internal/limiter"
)

// mostModels is how many models are remembered, by the pool and by each host. A further
// one takes the place of the one that was used least recently.
const mostModels = 256

// modelTimes is how long calls of a model take on any host.
type modelTimes struct {
	held pace      // a slot, less the time for loading
	load pace      // loading, by the calls that had to wait for it
	paid time.Time // when the load that was begun last should be over; see hasPaid
	used uint64    // see byModel
}

// hostModel is what is known of a model on one host.
type hostModel struct {
	limit *limiter.Limiter // of calls at once; nil if the slots of the host are given
	lent  int              // calls of the model that are on the host

	held     pace      // a slot, less the time for loading
	tried    time.Time // when a call last began, or was answered
	answered time.Time // when a call was last answered
	waited   time.Time // since when calls have waited in vain for the model to be loaded; or the zero Time
	crashed  time.Time // when the process that ran the model last died; the zero Time if never
	fate     fate
	context  int // tokens that the host chose when the options left it open, at most; 0 if not known
	used     uint64
}

// slots is how many calls of the model the host is given at once, where that is learned.
func (m *hostModel) slots(now time.Time) int {
	if m.lent == 0 {
		m.limit.Idle(now)
	}
	return m.limit.Limit()
}

// byModel holds what is known of models, by name.
type byModel[T any] struct {
	byName map[string]*T
	uses   uint64
	// used is where an entry keeps which use of all was its last; busy reports whether it
	// must not be forgotten.
	used func(*T) *uint64
	busy func(*T) bool
}

// get returns the entry of a model, nil if there is none.
func (m *byModel[T]) get(name string) *T { return m.byName[name] }

// use returns the entry of a model, made when there is none.
func (m *byModel[T]) use(name string, make func() *T) *T {
	e := m.byName[name]
	if e == nil {
		if len(m.byName) >= mostModels {
			m.forgetOne()
		}
		e = make()
		m.byName[name] = e
	}
	m.uses++
	*m.used(e) = m.uses
	return e
}

// forgetOne makes room for another model.
func (m *byModel[T]) forgetOne() {
	oldest, at := "", m.uses+1
	for name, e := range m.byName {
		if used := *m.used(e); used < at && !m.busy(e) {
			oldest, at = name, used
		}
	}
	delete(m.byName, oldest)
}

func newModelTimes() byModel[modelTimes] {
	return byModel[modelTimes]{
		byName: make(map[string]*modelTimes),
		used:   func(m *modelTimes) *uint64 { return &m.used },
		busy:   func(*modelTimes) bool { return false },
	}
}

func newHostModels() byModel[hostModel] {
	return byModel[hostModel]{
		byName: make(map[string]*hostModel),
		used:   func(m *hostModel) *uint64 { return &m.used },
		busy:   func(m *hostModel) bool { return m.lent > 0 },
	}
}

// timesOf is what is known of how long calls of a model take, on any host.
func (p *Pool) timesOf(model string) *modelTimes {
	return p.models.use(model, func() *modelTimes { return new(modelTimes) })
}

// model is what is known of a model on the host.
func (h *host) model(name string) *hostModel {
	return h.models.use(name, func() *hostModel {
		m := new(hostModel)
		if h.learned {
			m.limit = newLimit(h.most)
		}
		return m
	})
}

// knownFor is how long what a host was like is believed without trying it again.
const knownFor = time.Minute
