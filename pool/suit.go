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
// since then it is likelier that the trouble is not theirs.
func (p *Pool) serves(h *host, k groupKey, now time.Time) bool {
	if !h.could(k) {
		return false
	}
	mine := h.conditionFor(k, now)
	if mine == well {
		return true
	}
	best, healthy, reachable := gone, 0, 0
	for _, other := range p.hosts {
		if !other.could(k) {
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
	return mine == best || mine == rested && 2*healthy < reachable
}

// suits says how well a group suits a free slot of a host.
func (p *Pool) suits(h *host, k groupKey, waiting int, now time.Time) suit {
	switch {
	case !p.serves(h, k, now):
		return never
	case p.sooner(h, k, waiting, now):
		return later
	case k.model.model == "" || h.memory.holds(k.model):
		return warm
	}
	return cold
}

// worthwhile is how much sooner another host has to be, for estimates are rough.
const worthwhile = 1.25

// sooner reports whether the calls that wait are expected to be done sooner by other
// hosts, though they are busy, because this one is slow or would have to load the
// model. So a slow host is left idle until the queue is worth its help, which is the best rule
// for servers of unequal speed (Lin and Kumar, 1984).
func (p *Pool) sooner(h *host, k groupKey, waiting int, now time.Time) bool {
	mine, known := p.cost(h, k.model, now)
	if !known {
		return false
	}
	var best time.Duration // for one call, on the best of the others
	var rate float64       // of calls by all of them, per nanosecond
	idle := false
	for _, other := range p.hosts {
		if other == h || !other.could(k) || other.conditionFor(k, now) != well {
			continue
		}
		theirs, _ := p.cost(other, k.model, now)
		if float64(theirs)*worthwhile >= float64(mine) {
			continue
		}
		if best == 0 || theirs < best {
			best = theirs
		}
		rate += float64(other.slots()) / float64(max(theirs, 1))
		idle = idle || other.busy < other.slots()
	}
	if rate == 0 {
		return false
	}
	wait := 0.0
	if !idle {
		wait = float64(waiting) / rate
	}
	return (wait+float64(best))*worthwhile < float64(mine)
}

// cost is how long a host would take for a call, loading included, and whether
// that is known. What is not known of a host is taken from the others, so one that was slow
// is tried again after a while.
func (p *Pool) cost(h *host, k modelKey, now time.Time) (cost time.Duration, known bool) {
	common := p.habits[k.model]
	if common == nil || common.held.samples == 0 {
		return 0, false
	}
	cost = common.held.mean
	if own := h.habits[k.model]; own != nil && own.held.samples > 0 && now.Sub(own.tried) < habitFor {
		cost = own.held.mean
	}
	if !h.memory.holds(k) {
		cost += common.load.mean
	}
	return cost, true
}

// expected is how long a call is expected to hold a slot; 0 if nothing is known.
func (p *Pool) expected(k modelKey) time.Duration {
	if b := p.habits[k.model]; b != nil && b.held.samples > 0 {
		return b.held.mean
	}
	return p.pace.mean
}
