package pool

import "time"

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
	case h.well(now) && h.wasTried(k):
		return tried
	case h.well(now):
		return well
	case h.unreachable():
		return gone
	}
	return rested
}

// serves reports whether a host is to serve a group now. Hosts that are not well
// do when there are none better, since the last host is never shut out; and when
// fewer than half of those that answer at all are well, as in Envoy's panic mode,
// since then it is likelier that the trouble is not theirs. A call that has failed
// already waits for one that is well, or it would fail on all the others first.
func (p *Pool) serves(h *host, k groupKey, now time.Time) bool {
	if !h.could(k, now) {
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

func (f *freeSlot) suits(k groupKey) suit {
	switch {
	case !f.pool.serves(f.host, k, f.now):
		return never
	case k.model.model == "" || f.pool.opts.InMemory:
		return warm
	case f.host.mustWait(k.model, f.now, f.pool.opts.MaxPassedOver):
		return never
	case f.host.memory.holds(k.model):
		return warm
	}
	return cold
}

// worthwhile is how much sooner another host has to be, for estimates are rough.
const worthwhile = 1.25

// defers reports whether the calls that wait are expected to be done sooner by other
// hosts, though they are busy, because this one is slow or would have to load the
// model. So a slow host idles until the queue is worth its help, which is the best
// rule for servers of unequal speed (Lin and Kumar, 1984). Nor does a host change models
// while the one that it has is in use.
func (f *freeSlot) defers(k groupKey) bool {
	if f.host.isInUse(k.model) {
		return true
	}
	common := f.pool.habits[k.model.model]
	if common == nil || common.held.samples == 0 || len(f.pool.hosts) == 1 {
		return false
	}
	mine := float64(f.host.cost(k.model, common, f.now))
	var best, rate float64 // of a call on the best of the others; of calls by all of them
	idle := false
	for _, other := range f.pool.hosts {
		if other == f.host {
			continue
		}
		theirs := float64(max(1, other.cost(k.model, common, f.now)))
		if theirs*worthwhile >= mine || !other.could(k, f.now) || other.conditionFor(k, f.now) != well {
			continue
		}
		if best == 0 || theirs < best {
			best = theirs
		}
		rate += float64(other.slots()) / theirs
		idle = idle || len(other.lent) < other.slots() && other.loader(k.model.model) == nil
	}
	if rate == 0 {
		return false
	}
	wait := 0.0
	if !idle {
		wait = float64(f.waiting) / rate
	}
	return (wait+best)*worthwhile < mine
}

// cost is how long a host should take for a call, loading included. What is not
// known of it is taken from the others, so one that was slow is tried again after a while.
func (h *host) cost(k modelKey, common *habit, now time.Time) time.Duration {
	cost := common.held.mean
	if own := h.habits[k.model]; own != nil && own.held.samples > 0 && now.Sub(own.tried) < habitFor {
		cost = own.held.mean
	}
	switch loader := h.loader(k.model); {
	case h.memory.holds(k):
	case loader != nil:
		cost += max(0, common.load.mean-now.Sub(loader.began))
	default:
		cost += common.load.mean
	}
	return cost
}

// expected is how long a call is expected to hold a slot; 0 if nothing is known.
func (p *Pool) expected(k modelKey) time.Duration {
	if b := p.habits[k.model]; b != nil && b.held.samples > 0 {
		return b.held.mean
	}
	return p.pace.mean
}
