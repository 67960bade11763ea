package pool

import (
	"slices"
	"time"

	"ollama-mcp/internal/fairqueue"
)

// condition says how fit a host is for a call that it can serve, the best first.
type condition int

const (
	well   condition = iota
	tried            // well, but an attempt of the call has failed there
	rested           // ejected, or asked to be left alone
	gone             // unreachable
)

// conditionFor is the condition of a host for a group.
func (h *host) conditionFor(k groupKey, now time.Time) condition {
	switch {
	case h.wellFor(k.model.model, now) && h.wasTried(k):
		return tried
	case h.wellFor(k.model.model, now):
		return well
	case h.unreachable():
		return gone
	}
	return rested
}

// serves reports whether a host is to serve a group now. A host that has asked to be left alone
// does not until that time is over. Other hosts that are not well serve calls in two cases: if
// there is no better one, since the last host is never shut out; and if fewer than half of the
// reachable hosts are well, as in Envoy's panic mode, since the cause is then likely to be
// elsewhere. A call that has failed before waits for a host that is well, or it would fail on all
// the others first.
func (p *Pool) serves(h *host, k groupKey, now time.Time) bool {
	if !h.could(k, now) || h.isResting(k.model.model, now) {
		return false
	}
	mine := h.conditionFor(k, now)
	if mine == well {
		return true
	}
	best, healthy, reachable := gone, 0, 0
	for _, other := range p.hosts {
		if !other.could(k, now) {
			continue
		}
		c := other.conditionFor(k, now)
		best = min(best, c)
		if c <= tried {
			healthy++
		}
		if c < gone {
			reachable++
		}
	}
	return mine == best || mine == rested && k.tried == "" && 2*healthy < reachable
}

// freeSlot is a free slot of a host.
type freeSlot struct {
	pool    *Pool
	host    *host
	waiting int // calls in the queue
	now     time.Time
}

// Fit says how well calls of a group fit the slot.
func (f *freeSlot) Fit(k groupKey) fairqueue.Fit {
	switch {
	case !f.host.hasSlot(k.model.model, f.now) || !f.pool.serves(f.host, k, f.now) || k.afterCrash && f.host.isRetryingAfterCrash():
		return fairqueue.Never
	case k.model.model == "" || f.host.inMemory:
		return fairqueue.Warm
	case f.mustWait(k):
		return fairqueue.Never
	case f.host.memory.holds(k.model):
		return fairqueue.Warm
	}
	return fairqueue.Cold
}

// worthwhile is the factor by which another host has to be faster, since estimates are rough.
const worthwhile = 1.25

// Defers reports whether other hosts, although they are busy, are expected to finish the waiting
// calls sooner, because this host is slow or would have to load the model. A slow host thus idles
// until the queue is long enough, which is the optimal policy for servers of unequal speed (Lin
// and Kumar, 1984). Neither does a host change models while its current one is in use or, if other
// hosts can serve the calls, for as long afterwards as loading it takes: models of unequal load
// would evict each other all the time.
func (f *freeSlot) Defers(k groupKey, since time.Time) bool {
	if f.isInUse(k) {
		return true
	}
	if f.pool.opts.Policy.Strict {
		return f.wouldLose(k.model, f.pool.loadOf) && f.isHeldElsewhere(k)
	}
	common := known(&f.pool.models, k.model.model)
	if common == nil || common.held.samples == 0 || len(f.pool.hosts) == 1 {
		return false
	}
	mine := f.host.held(k.model, common, f.now)
	if !f.hasPaid(k.model, common, since) {
		mine += f.host.loadTime(k.model, common, f.now)
	}
	theirs, ok := f.byOthers(k, common, float64(mine))
	return ok && (theirs*worthwhile < float64(mine) || f.wouldLose(k.model, f.pool.loadOf))
}

// byOthers estimates, in nanoseconds, when the last of the waiting calls ends if all of them go to
// other hosts on which a call costs clearly less than here. ok is false if there is no such host.
func (f *freeSlot) byOthers(k groupKey, common *modelTimes, mine float64) (all float64, ok bool) {
	var best, rate float64 // of a call on the best of them; of calls by all of them
	idle := false
	offers := f.pool.offersFor(k, common, f.now)
	for i := range offers {
		theirs := &offers[i]
		if theirs.host == f.host || theirs.cost*worthwhile >= mine || !theirs.isGood(k, f.now) {
			continue
		}
		if best == 0 || theirs.cost < best {
			best = theirs.cost
		}
		rate += float64(theirs.slots) / theirs.cost
		idle = idle || theirs.idle
	}
	if idle || rate == 0 {
		return best, idle
	}
	return best + float64(f.waiting)/rate, true
}

// offer is what a host can do for the calls of a group.
type offer struct {
	host *host
	cost float64 // of a call, in nanoseconds

	checked bool // the fields below are set
	good    bool // the host is well and can serve the calls
	slots   int  // for their model
	idle    bool // one of these is free
}

// isGood reports whether the host of an offer is well and can serve a group.
func (o *offer) isGood(k groupKey, now time.Time) bool {
	if !o.checked {
		h, model := o.host, k.model.model
		o.checked = true
		o.good = h.could(k, now) && h.conditionFor(k, now) == well && !h.doubtfulFor(model, now)
		o.slots = h.slotsOf(model, now)
		o.idle = h.lentOf(model) < o.slots && h.loader(model) == nil
	}
	return o.good
}

// offersFor returns what all hosts can do for a group. It is computed once for all the free slots
// that are compared with each other, or many hosts would each be compared with all others.
func (p *Pool) offersFor(k groupKey, common *modelTimes, now time.Time) []offer {
	if p.offered != k || len(p.offers) == 0 {
		p.offers, p.offered = p.offers[:0], k
		for _, h := range p.hosts {
			p.offers = append(p.offers, offer{host: h, cost: float64(max(1, h.cost(k.model, common, now)))})
		}
	}
	return p.offers
}

// withdrawOffers is called before free slots are compared, and when a host has been given a call.
func (p *Pool) withdrawOffers() { p.offers = p.offers[:0] }

// hasPaid reports whether the queue for a model has lasted for as long as loading the model takes.
// From then on the cost of loading is ignored. This is the ski rental problem: a load of unknown
// use is postponed until the wait has cost as much, so at most twice the optimum is lost (Karlin,
// Manasse, Rudolph and Sleator, 1988). Each load has to be earned anew, and none evicts a model
// that is known to be needed again.
func (f *freeSlot) hasPaid(k modelKey, common *modelTimes, since time.Time) bool {
	if common.paid.After(since) {
		since = common.paid
	}
	return f.now.Sub(since) >= common.load.mean && !f.wouldLose(k, func(string) time.Duration { return keptFor })
}

// wouldLose reports whether the host would have to load a model and evict another for it, or the
// same one with other options, that was requested within the time for which it is kept.
func (f *freeSlot) wouldLose(k modelKey, kept func(model string) time.Duration) bool {
	if f.host.memory.holds(k) {
		return false
	}
	isUnknown := false
	for model := range f.host.memory {
		own := known(&f.host.models, model)
		if own == nil || f.now.Sub(own.tried) >= kept(model) {
			continue
		}
		if model == k.model || own.sharing == exclusive {
			return true
		}
		isUnknown = isUnknown || own.sharing == unknown
	}
	return isUnknown && f.isHeldElsewhere(groupKey{model: k})
}

// IsComing reports whether another host is loading a group's model, and should have it before this
// host could. Then a call that has been passed over is no reason to load the model here too, and
// to evict one that others use.
func (f *freeSlot) IsComing(k groupKey) bool {
	return slices.ContainsFunc(f.pool.hosts, func(h *host) bool {
		l := h.loader(k.model.model)
		isSoon := l != nil && l.key() == k.model && f.now.Sub(l.began) < f.pool.loadOf(k.model.model)
		return isSoon && h.could(k, f.now) && h.conditionFor(k, f.now) == well
	})
}

// loadOf returns how long loading a model takes; 0 if that is not known.
func (p *Pool) loadOf(model string) time.Duration {
	if b := known(&p.models, model); b != nil {
		return b.load.mean
	}
	return 0
}

// cost estimates how long a host takes for a call, loading included. It is no less than the time
// for which the host has been silent, since the host may hang.
func (h *host) cost(k modelKey, common *modelTimes, now time.Time) time.Duration {
	return max(h.held(k, common, now)+h.loadTime(k, common, now), h.silenceOf(k.model, now))
}

// held estimates how long a call holds a slot of a host, loading excluded. What is not known of
// the host is assumed to be as on the others, so a host that was slow is tried again after a while.
func (h *host) held(k modelKey, common *modelTimes, now time.Time) time.Duration {
	if own := known(&h.models, k.model); own != nil && own.held.samples > 0 && now.Sub(own.tried) < knownFor {
		return own.held.mean
	}
	return common.held.mean
}

// loadTime estimates how long a host takes to load a model, or to finish loading it; 0 if the model
// is in memory.
func (h *host) loadTime(k modelKey, common *modelTimes, now time.Time) time.Duration {
	if h.memory.holds(k) {
		return 0
	}
	if loader := h.loader(k.model); loader != nil {
		return max(0, common.load.mean-now.Sub(loader.began))
	}
	return common.load.mean
}

// expected estimates how long a call holds a slot; 0 if nothing is known.
func (p *Pool) expected(k modelKey) time.Duration {
	if b := known(&p.models, k.model); b != nil && b.held.samples > 0 {
		return b.held.mean
	}
	return p.pace.mean
}
