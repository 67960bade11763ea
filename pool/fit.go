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
	if !h.could(k, now) {
		return false
	}
	mine := h.conditionFor(k, now)
	if mine == well {
		return true
	}
	if h.isResting(k.model.model, now) {
		return false
	}
	mayHelp := mine == rested && k.tried == ""
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
		if best < mine && (!mayHelp || 2*healthy >= len(p.hosts)) {
			return false // whatever the others are
		}
	}
	return mine == best || mayHelp && 2*healthy < reachable
}

// freeSlot is a free slot of a host.
type freeSlot struct {
	pool    *Pool
	host    *host
	waiting int // calls in the queue
	now     time.Time

	hadSlot  bool // for one of the groups that Fit was asked about, whether the host serves it or not
	mayServe bool // the host serves one of these groups, or would if it had a slot for it
}

// Fit says how well calls of a group fit the slot.
func (f *freeSlot) Fit(k groupKey) fairqueue.Fit {
	if !f.host.hasSlotFor(k, f.now) {
		f.mayServe = true // nobody has asked
		return fairqueue.Never
	}
	f.hadSlot = true
	if !f.pool.serves(f.host, k, f.now) {
		return fairqueue.Never
	}
	f.mayServe = true
	switch {
	case k.afterCrash && f.host.isRetryingAfterCrash():
		return fairqueue.Never
	case k.model.model == "" || f.host.inMemory:
		return fairqueue.Warm
	case f.mustWait(k):
		return fairqueue.Never
	case f.host.memory.holds(k.model), f.host.isLoadedElsewhere(k.model):
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
// other hosts on which a call costs clearly less than here: as many as find a free slot there now, and
// the others at the rate of these hosts. ok is false if there is no such host.
func (f *freeSlot) byOthers(k groupKey, common *modelTimes, mine float64) (all float64, ok bool) {
	if least, decides := f.leastByOthers(k, common, mine); decides {
		return least, true
	}
	var others totalOffer
	offers := f.pool.offersFor(k)
	for i, own := range f.pool.onHosts(k.model.model, common) {
		if own.leastCost(common)*worthwhile >= mine || f.pool.hosts[i] == f.host {
			continue
		}
		theirs := offers[i].price(f.pool.hosts[i], k, common, f.now)
		if theirs.cost*worthwhile < mine && theirs.isGood(f.pool, k, f.now) {
			others.add(theirs.cost, theirs.slots, theirs.free)
		}
	}
	return others.end(f.waiting)
}

// leastByOthers is a lower bound of what byOthers estimates: hosts that may have a free slot are looked at
// closely, and of the others only what is known of the model there, as if all were well. decides says that
// this is enough: there are free slots for all calls, or even so the calls end too late for this host to
// wait, which would evict nothing. That is how it is while the queue is long.
func (f *freeSlot) leastByOthers(k groupKey, common *modelTimes, mine float64) (least float64, decides bool) {
	var others totalOffer
	offers, waits := f.pool.offersFor(k), f.pool.queue.Waits(k)
	for i, own := range f.pool.onHosts(k.model.model, common) {
		cost, h := own.leastCost(common), f.pool.hosts[i]
		if cost*worthwhile >= mine || h == f.host {
			continue
		}
		slots, isBusy := h.busySlots(own, waits)
		if isBusy {
			others.add(cost, slots, 0)
			continue
		}
		theirs := offers[i].price(h, k, common, f.now)
		if theirs.cost*worthwhile >= mine || !theirs.isGood(f.pool, k, f.now) {
			continue
		}
		if others.add(theirs.cost, theirs.slots, theirs.free); others.free >= f.waiting {
			return others.best, true
		}
	}
	least, ok := others.end(f.waiting)
	return least, ok && least*worthwhile >= mine && f.host.memory.holds(k.model)
}

// totalOffer is what some hosts together can do for the calls of a group.
type totalOffer struct {
	best float64 // least cost of a call, in nanoseconds; 0 if there is no host
	rate float64 // of calls, while all slots are taken
	free int     // slots
}

func (t *totalOffer) add(cost float64, slots, free int) {
	if t.best == 0 || cost < t.best {
		t.best = cost
	}
	t.rate += float64(slots) / cost
	t.free += free
}

// end estimates, in nanoseconds, when the last of so many calls ends. It is not ok if there is no host.
func (t *totalOffer) end(waiting int) (last float64, ok bool) {
	if t.rate == 0 {
		return 0, false
	}
	return t.best + float64(max(0, waiting-t.free))/t.rate, true
}

// busySlots returns how many slots the host has for a model at most, of which own is what is known there,
// and whether it is certain that none is free. waits says that calls wait for the model.
func (h *host) busySlots(own *hostModel, waits bool) (slots int, isBusy bool) {
	slots, isBusy = min(firstSlots, h.most), len(h.lent) >= h.room() || waits && h.slotless
	if !h.learned {
		slots = h.most
	} else if own != nil {
		slots, isBusy = own.limit.Limit(), isBusy || own.lent >= own.limit.Limit()
	}
	return h.ofPool(slots), isBusy
}

// offer is what a host can do for the calls of a group. The zero offer is not known yet.
type offer struct {
	host *host
	cost float64 // of a call, in nanoseconds

	checked bool // the fields below are set
	good    bool // the host is well and can serve the calls
	slots   int  // for their model
	free    int  // how many of these they could have at once
}

// price sets what a call of a group costs on the host of an offer.
func (o *offer) price(h *host, k groupKey, common *modelTimes, now time.Time) *offer {
	if o.host == nil {
		o.host, o.cost = h, float64(max(1, h.cost(k.model, common, now)))
	}
	return o
}

// isGood reports whether the host of an offer is well and can serve a group.
func (o *offer) isGood(p *Pool, k groupKey, now time.Time) bool {
	if !o.checked {
		h, model := o.host, k.model.model
		o.checked = true
		o.good = h.could(k, now) && h.conditionFor(k, now) == well && !h.doubtfulFor(model, now)
		o.slots, o.free = h.slotsOf(model, now), h.freeFor(k, now)
		if o.free > 0 && (&freeSlot{pool: p, host: h, now: now}).isInUse(k) {
			o.free = 0
		}
	}
	return o.good
}

// offersFor returns what all hosts can do for a group, each set when it is needed. It is computed
// once for all the free slots that are compared with each other, or many hosts would each be compared
// with all others.
func (p *Pool) offersFor(k groupKey) []offer {
	if p.offered != k || len(p.offers) != len(p.hosts) {
		p.offers, p.offered = slices.Grow(p.offers[:0], len(p.hosts))[:len(p.hosts)], k
		clear(p.offers)
	}
	return p.offers
}

// withdrawOffers is called before free slots are compared, and when a host has been given a call.
func (p *Pool) withdrawOffers() { p.offers = p.offers[:0] }

// onHosts returns what is known of a model on each host, in the order of the hosts; nil for a host of
// which nothing is.
func (p *Pool) onHosts(model string, common *modelTimes) []*hostModel {
	if len(common.on) != len(p.hosts) {
		common.on = make([]*hostModel, len(p.hosts))
		for i, h := range p.hosts {
			common.on[i] = known(&h.models, model)
		}
	}
	return common.on
}

// noteOn keeps what onHosts returns up to date with a lease whose model is new on its host, or has been
// measured there.
func (p *Pool) noteOn(l *Lease) {
	if times := known(&p.models, l.key().model); times != nil && len(times.on) == len(p.hosts) && !l.host.removed {
		times.on[l.host.index] = l.own
	}
}

// leastCost is the least that a call can cost on the host, in nanoseconds; see cost.
func (m *hostModel) leastCost(common *modelTimes) float64 {
	least := common.held.mean
	if m != nil && m.held.samples > 0 {
		least = min(least, m.held.mean)
	}
	return float64(max(1, least))
}

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
	if f.host.memory.holds(k) || f.host.isLoadedElsewhere(k) {
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
		l, loads := h.loadingOf(k.model.model)
		isSoon := loads && l.key == k.model && f.now.Sub(l.at) < f.pool.loadOf(k.model.model)
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

// heldBy returns for how long a call of a model holds a slot; 0 if that is not known.
func (p *Pool) heldBy(model string) time.Duration {
	if b := known(&p.models, model); b != nil {
		return b.held.mean
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
	if l, loads := h.loadingOf(k.model); loads {
		return max(0, common.load.mean-now.Sub(l.at))
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
