package pool

import (
	"slices"
	"time"

	"ollama-mcp/internal/fairqueue"
)

// condition says how fit a host is for a call that it could serve, best first.
type condition int

const (
	well   condition = iota
	tried            // well, but the call has failed there
	rested           // ejected, or asked to be left alone
	gone             // nobody answers
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

// serves reports whether a host is to serve a group now. One that has asked to be left
// alone does not before its time. Others that are not well do when there are none better, since the last host is never shut out; and when
// fewer than half of those that answer at all are well, as in Envoy's panic mode,
// since then it is likelier that the trouble is not theirs. A call that has failed
// already waits for one that is well, or it would fail on all the others first.
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

// freeSlot is a slot of a host, for calls of which so many wait.
type freeSlot struct {
	pool    *Pool
	host    *host
	waiting int
	now     time.Time
}

// Fit says how well calls of a group fit the slot.
func (f *freeSlot) Fit(k groupKey) fairqueue.Fit {
	switch {
	case !f.pool.serves(f.host, k, f.now) || k.afterCrash && f.host.isRetryingAfterCrash() || !f.host.hasSlot(k.model.model, f.now):
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

// worthwhile is how much sooner another host has to be, for estimates are rough.
const worthwhile = 1.25

// Defers reports whether the calls that wait are expected to be done sooner by other
// hosts, though they are busy, because this one is slow or would have to load the
// model. So a slow host idles until the queue is worth its help, which is the best
// rule for servers of unequal speed (Lin and Kumar, 1984). Nor does a host change models
// while the one that it has is in use or, if others serve those calls, as long after as a
// load of it takes: models of unequal load would drive each other out all the time.
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
		mine += f.host.load(k.model, common, f.now)
	}
	theirs, ok := f.byOthers(k, common, float64(mine))
	return ok && (theirs*worthwhile < float64(mine) || f.wouldLose(k.model, f.pool.loadOf))
}

// byOthers is how long the last of the calls that wait should take, in nanoseconds, if all
// of them go to the other hosts for which a call costs clearly less than here; not ok if
// there is no such host.
func (f *freeSlot) byOthers(k groupKey, common *modelTimes, mine float64) (all float64, ok bool) {
	var best, rate float64 // of a call on the best of them; of calls by all of them
	idle := false
	for _, other := range f.pool.hosts {
		if other == f.host {
			continue
		}
		theirs := float64(max(1, other.cost(k.model, common, f.now)))
		if theirs*worthwhile >= mine || !other.could(k, f.now) || other.conditionFor(k, f.now) != well || other.doubtfulFor(k.model.model, f.now) {
			continue
		}
		if best == 0 || theirs < best {
			best = theirs
		}
		slots := other.slotsOf(k.model.model, f.now)
		rate += float64(slots) / theirs
		idle = idle || other.lentOf(k.model.model) < slots && other.loader(k.model.model) == nil
	}
	if idle || rate == 0 {
		return best, idle
	}
	return best + float64(f.waiting)/rate, true
}

// hasPaid reports whether the queue for a model has lasted for as long as a load of it
// takes. From then on the load counts no more: who does not know how long it will be of use
// waits until that has cost as much, and so loses at most twice what was needed, as one does
// who rents skis before buying them (Karlin, Manasse, Rudolph and Sleator, 1988). Each
// load has to be paid anew, and none drives out what is known to be wanted back.
func (f *freeSlot) hasPaid(k modelKey, common *modelTimes, since time.Time) bool {
	if common.paid.After(since) {
		since = common.paid
	}
	return f.now.Sub(since) >= common.load.mean && !f.wouldLose(k, func(string) time.Duration { return keptFor })
}

// wouldLose reports whether the host would have to load a model, and lose another for it,
// or the same with other options, that has been asked for in as long as it is kept.
func (f *freeSlot) wouldLose(k modelKey, kept func(model string) time.Duration) bool {
	if f.host.memory.holds(k) {
		return false
	}
	elsewhere := f.isHeldElsewhere(groupKey{model: k})
	for model := range f.host.memory {
		own := known(&f.host.models, model)
		if own != nil && f.now.Sub(own.tried) < kept(model) && (model == k.model || own.sharing == exclusive || own.sharing == unknown && elsewhere) {
			return true
		}
	}
	return false
}

// IsComing reports whether a group's model is being loaded by another host, which should
// have it before this one could. Then a call that has been passed over is no reason to load
// it here too, and drive out what others use.
func (f *freeSlot) IsComing(k groupKey) bool {
	return slices.ContainsFunc(f.pool.hosts, func(h *host) bool {
		l := h.loader(k.model.model)
		isSoon := l != nil && l.key() == k.model && f.now.Sub(l.began) < f.pool.loadOf(k.model.model)
		return isSoon && h.could(k, f.now) && h.conditionFor(k, f.now) == well
	})
}

// loadOf is how long a load of a model takes; 0 if it is not known.
func (p *Pool) loadOf(model string) time.Duration {
	if b := known(&p.models, model); b != nil {
		return b.load.mean
	}
	return 0
}

// cost is how long a host should take for a call, loading included: no less than it has
// been silent by now, since it may hang.
func (h *host) cost(k modelKey, common *modelTimes, now time.Time) time.Duration {
	return max(h.held(k, common, now)+h.load(k, common, now), h.silenceOf(k.model, now))
}

// held is how long a call should hold a slot of a host, without loading. What is not known
// of it is taken from the others, so one that was slow is tried again after a while.
func (h *host) held(k modelKey, common *modelTimes, now time.Time) time.Duration {
	if own := known(&h.models, k.model); own != nil && own.held.samples > 0 && now.Sub(own.tried) < knownFor {
		return own.held.mean
	}
	return common.held.mean
}

// load is how long a host should take to load a model, or go on doing so; 0 if it holds it.
func (h *host) load(k modelKey, common *modelTimes, now time.Time) time.Duration {
	if h.memory.holds(k) {
		return 0
	}
	if loader := h.loader(k.model); loader != nil {
		return max(0, common.load.mean-now.Sub(loader.began))
	}
	return common.load.mean
}

// expected is how long a call is expected to hold a slot; 0 if nothing is known.
func (p *Pool) expected(k modelKey) time.Duration {
	if b := known(&p.models, k.model); b != nil && b.held.samples > 0 {
		return b.held.mean
	}
	return p.pace.mean
}
