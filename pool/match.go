package pool

import (
	"cmp"
	"slices"
	"time"

	"ollama-mcp/internal/fairqueue"
	"ollama-mcp/internal/route"
)

// match gives free slots to waiting calls. It is called, with mu held, whenever that may have
// become possible.
func (p *Pool) match() {
	if p.queue.Len() == 0 {
		return
	}
	now := time.Now()
	p.withdrawOffers()
	for _, h := range p.inTurn(now) {
		for p.queue.Len() > 0 && p.take(h) {
			slot := &freeSlot{pool: p, host: h, waiting: p.queue.Len(), now: now}
			t := p.queue.Pick(now, slot)
			if t == nil {
				p.noteUseless(slot) // Pick has asked about all groups
				p.untake(h)
				break
			}
			if p.isTooLate(t, now) { // the wait was longer than expected
				p.untake(h)
				p.refuse(t, &QueueTimeoutError{RetryAfter: p.waitOf(t)}, now)
				continue
			}
			p.grant(t.Value, h, route.Choice{}, now)
		}
	}
	p.setAlarm(now)
}

// inTurn returns the hosts that may have a free slot, in the order of weighted turns.
func (p *Pool) inTurn(now time.Time) []*host {
	p.free = p.free[:0]
	for _, h := range p.hosts {
		if len(h.lent) < h.room() && !h.isUseless(p.changes, now) {
			p.free = append(p.free, h)
		}
	}
	slices.SortStableFunc(p.free, func(a, b *host) int {
		return cmp.Or(cmp.Compare(max(p.clock, a.turns), max(p.clock, b.turns)), cmp.Compare(a.turn, b.turn))
	})
	return p.free
}

// noteUseless records that a host serves none of the calls that wait, if that is so and will be until
// something happens that clears the record. Otherwise each turn would look at all hosts again.
func (p *Pool) noteUseless(slot *freeSlot) {
	slot.host.slotless = !slot.hadSlot
	if !slot.mayServe {
		slot.host.shunned, slot.host.shunnedUntil = p.changes, slot.host.nextRested(slot.now)
	}
}

// isUseless reports whether nobody needs to look whether the host serves any of the calls that wait.
// changes are those of the pool.
func (h *host) isUseless(changes int, now time.Time) bool {
	return h.slotless || h.shunned == changes && !h.well(now) && (h.shunnedUntil.IsZero() || now.Before(h.shunnedUntil))
}

// joins prepares for calls of a group of which none has waited: hosts that serve no other may serve
// these.
func (p *Pool) joins(k groupKey, now time.Time) {
	if p.queue.Waits(k) {
		return
	}
	for _, h := range p.hosts {
		h.slotless = h.slotless && !h.hasSlotFor(k, now)
		if h.shunned == p.changes && p.serves(h, k, now) {
			h.shunned = 0
		}
	}
}

// take acquires a permit of a host and one of the permits for all hosts together, if both are
// free. These permits decide whether there is a free slot; counters only report it.
func (p *Pool) take(h *host) bool {
	if !p.takeOfAll() {
		return false
	}
	if !h.permits.TryAcquire(1) {
		p.untakeOfAll()
		return false
	}
	return true
}

func (p *Pool) untake(h *host) {
	h.freePermit()
	p.untakeOfAll()
}

func (p *Pool) takeOfAll() bool { return p.all == nil || p.all.TryAcquire(1) }

func (p *Pool) untakeOfAll() {
	if p.all != nil {
		p.all.Release(1)
	}
}

// silenceStep is the shortest time after which a silent host is examined again.
const silenceStep = 100 * time.Millisecond

// setAlarm schedules the next match, in case nothing else causes one before: when a host may be
// used again, when a model should have been loaded, when a host has been silent for twice as long
// as now, or when a call has been passed over for long enough.
func (p *Pool) setAlarm(now time.Time) {
	if p.queue.Len() == 0 {
		return
	}
	next, ok := p.queue.NextDue()
	earlier := func(at time.Time) {
		if at.After(now) && (!ok || at.Before(next) || !next.After(now)) {
			next, ok = at, true
		}
	}
	for _, h := range p.hosts {
		if h.uneasy {
			h.uneasy = h.eachEnd(now, earlier)
		}
		for _, l := range h.loading {
			earlier(l.began.Add(p.loadOf(l.key().model)))
		}
	}
	if silent := p.youngestSilence(now); silent >= 0 { // the longer a host is silent, the less it pays to wait for it
		earlier(now.Add(max(silent, silenceStep)))
	}
	switch {
	case !ok || !next.After(now):
		return
	case p.alarm == nil:
		p.alarm = time.AfterFunc(next.Sub(now), p.rematch)
	default:
		p.alarm.Reset(next.Sub(now))
	}
}

// eachEnd passes on when the host, and its models there, may be used again that may not be used now.
// It reports whether there are any, or may be without another failure.
func (h *host) eachEnd(now time.Time, at func(time.Time)) (uneasy bool) {
	each := func(health *health, rest rest) {
		open, rests := health.breaker.Until(), rest.until()
		at(open)
		at(rests)
		uneasy = uneasy || !open.IsZero() || now.Before(rests)
	}
	each(&h.health, h.rest)
	for _, own := range h.models.All() {
		each(&own.health, own.rest)
	}
	return uneasy
}

// nextRested returns when the first rest ends that the host has asked for, for all models or for one;
// the zero Time if there is none.
func (h *host) nextRested(now time.Time) (first time.Time) {
	earlier := func(r rest) {
		if at := r.until(); at.After(now) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	earlier(h.rest)
	for _, own := range h.models.All() {
		earlier(own.rest)
	}
	return first
}

// youngestSilence returns for how long the silent call has been on its host that got there last; a
// negative number if no call is silent. A silence of less than silenceStep counts as any other.
func (p *Pool) youngestSilence(now time.Time) time.Duration {
	if l := p.last; l != nil && !l.over && !l.host.removed && l.isSilent() && now.Sub(l.began) <= silenceStep {
		return now.Sub(l.began)
	}
	youngest := time.Duration(-1)
	for _, h := range p.hosts {
		for _, l := range slices.Backward(h.lent) { // in the order in which they came
			if l.isSilent() {
				if age := now.Sub(l.began); youngest < 0 || age < youngest {
					youngest = age
				}
				break
			}
		}
	}
	return youngest
}

func (p *Pool) rematch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.match()
}

// isServed reports whether a host has a free slot for a call that joins the queue.
func (p *Pool) isServed(k groupKey, now time.Time) bool {
	if !p.takeOfAll() {
		return false
	}
	defer p.untakeOfAll()
	p.withdrawOffers()
	waits := p.queue.Waits(k)
	for _, h := range p.hosts {
		if len(h.lent) >= h.room() || waits && h.isUseless(p.changes, now) {
			continue
		}
		slot := freeSlot{pool: p, host: h, waiting: p.queue.Len() + 1, now: now}
		if slot.Fit(k) != fairqueue.Never && !slot.Defers(k, now) {
			return true
		}
	}
	return false
}

// takeBest takes a slot of the free host that suits a call best, and says why; nil if there is none.
// It is for calls that find nobody waiting.
func (p *Pool) takeBest(need route.Need, k groupKey, now time.Time) (*host, route.Choice) {
	if !p.takeOfAll() {
		return nil, route.Choice{}
	}
	p.scratch, p.free = p.scratch[:0], p.free[:0]
	p.withdrawOffers()
	for _, h := range p.hosts {
		if !h.permits.TryAcquire(1) {
			continue
		}
		slot := freeSlot{pool: p, host: h, waiting: 1, now: now}
		fit := slot.Fit(k)
		if fit == fairqueue.Never || slot.Defers(k, now) {
			h.permits.Release(1)
			continue
		}
		p.free = append(p.free, h)
		p.scratch = append(p.scratch, route.Host{
			Name: h.name, Warm: fit == fairqueue.Warm, Busy: len(h.lent), Slots: h.slots(now), Latency: h.latencyFor(k.model.model, now),
			Weight: h.weight, Turn: max(p.clock, h.turns), Order: h.turn,
		})
	}
	best := p.best(need, k, now)
	why := route.Choice{Free: len(p.free)}
	for _, candidate := range p.scratch {
		if candidate.Warm {
			why.Warm++
		}
		why.IsRead = why.IsRead || candidate.Read && candidate.Name == best.name
	}
	if len(p.scratch) > 1 && p.scratch[0].Name != best.name { // the policy has sorted them
		why.Instead = p.scratch[0].Name
	}
	for _, h := range p.free {
		if h != best {
			h.permits.Release(1)
		}
	}
	if best == nil {
		p.untakeOfAll()
	}
	return best, why
}

// best returns the first of the free hosts according to the policy, with doubtful hosts last; nil
// if there is none.
func (p *Pool) best(need route.Need, k groupKey, now time.Time) *host {
	switch len(p.free) {
	case 0:
		return nil
	case 1:
		return p.free[0]
	}
	p.markRead(need.Prefixes)
	p.opts.Policy.Sort(need, p.scratch)
	// A free host that runs the model itself goes before one that passes it on.
	model := k.model.model
	for _, cloud := range []bool{false, true} {
		for _, candidate := range p.scratch {
			h := p.freeNamed(candidate.Name)
			if h.isCloudPart == cloud && h.wellFor(model, now) && !h.doubtfulFor(model, now) && !h.mayHang(model, now) {
				return h
			}
		}
	}
	return p.freeNamed(p.scratch[0].Name)
}

// markRead marks the free hosts that have read the longest beginning of a prompt. A host without the
// model in memory has no prompts there either. One that is busier than another by more than a call
// is left out: to read a prompt again takes less than to wait for other calls.
func (p *Pool) markRead(prefixes []uint64) {
	if len(prefixes) == 0 {
		return
	}
	var least *route.Host
	for i, h := range p.scratch {
		if h.Warm && (least == nil || route.ByLoad(h, *least) < 0) {
			least = &p.scratch[i]
		}
	}
	if least == nil {
		return
	}
	for readers := range p.read.Readers(prefixes) {
		found := false
		for i := range p.scratch {
			h := &p.scratch[i]
			before := *h // this host, before its last call
			before.Busy--
			if h.Warm && slices.Contains(readers, h.Name) && route.ByLoad(before, *least) <= 0 {
				h.Read, found = true, true
			}
		}
		if found {
			return
		}
	}
}

// freeNamed returns the free host of a name. A host and its cloud part have the same name, but
// never serve the same model.
func (p *Pool) freeNamed(name string) *host {
	i := slices.IndexFunc(p.free, func(h *host) bool { return h.name == name })
	return p.free[i]
}

// named returns the host of a name; nil if there is none.
func (p *Pool) named(name string) *host {
	for _, h := range p.hosts {
		if h.name == name && !h.isCloudPart {
			return h
		}
	}
	return nil
}

// grant lends a host to a call, for which a slot was taken before. why says what is known of the
// other hosts.
func (p *Pool) grant(l *Lease, h *host, why route.Choice, now time.Time) {
	model := l.key().model
	why.Policy, why.IsWarm, why.Busy, why.Slots = p.opts.Policy.Name, h.inMemory || h.memory.holds(l.key()), len(h.lent), h.slots(now)
	why.Latency = h.latencyFor(model, now)
	l.host, l.choice = h, why
	l.own, h.lastModel = h.model(model), model
	p.noteOn(l)
	l.own.lent++
	h.lent = append(h.lent, l)
	p.totals.InFlight++
	p.turn++
	h.turn = p.turn
	p.clock = max(p.clock, h.turns)
	h.turns = p.clock + 1/h.weight
	p.queue.Start(&l.ticket, max(p.expected(l.key()), time.Millisecond))
	l.began, p.last = now, l
	if h.uneasy {
		p.changes++ // while it tries the host, others do not
	}
	l.pass, _ = h.breaker.Allow(now) // there is no pass for a host that is used for lack of others
	l.ownPass, _ = l.own.breaker.Allow(now)
	l.measured = measured{Backend: h.backend, pool: p, lease: l}
	l.Host, l.Cloud = &l.measured, h.isCloudPart || h.isAllCloud
	l.Context = h.memory.chosenContext(l.key())
	p.noteAttempt(l, now)
	p.withdrawOffers()
	if l.ready != nil {
		p.rates.growth.add(now, -1)
		close(l.ready)
	}
}

// noteAttempt records that a request for a model is about to be sent to a host, which may have to
// load the model.
func (p *Pool) noteAttempt(l *Lease, now time.Time) {
	h, k := l.host, l.key()
	if k.model == "" {
		return
	}
	l.own.tried = now
	if h.inMemory || h.memory.holds(k) {
		return
	}
	l.cold, l.joins = true, h.isLoadedElsewhere(k)
	l.startLoading()
	common := p.timesOf(k.model)
	common.paid = now.Add(common.load.mean)
}

// release frees the slot of a lease, which match gives to the next call.
func (p *Pool) release(l *Lease) {
	h, now := l.host, time.Now()
	l.over = true
	l.stopLoading()
	h.breaker.Record(now, l.pass, l.verdict.host)
	l.own.breaker.Record(now, l.ownPass, l.verdict.model)
	// Loading is charged to nobody: it serves all later calls for the model.
	p.queue.Done(&l.ticket, max(0, now.Sub(l.began)-l.seen.load))
	p.totals.InFlight--
	h.lent = slices.DeleteFunc(h.lent, func(other *Lease) bool { return other == l })
	l.own.lent--
	h.slotless = false
	p.untake(h)
	h.drain()
}
