package pool

import (
	"slices"
	"time"

	"ollama-mcp/internal/route"
)

// match gives free slots to calls that wait. It is called, with mu held, whenever
// that may have become possible.
func (p *Pool) match() {
	if p.queue.waiting == 0 {
		return
	}
	now := time.Now()
	for _, h := range p.hosts {
		h.wanted()
		for p.queue.waiting > 0 && p.free(h) {
			t := p.queue.pick(now, &freeSlot{p, h, p.queue.waiting, now})
			if t == nil {
				break
			}
			if p.isTooLate(t, now) { // the wait was longer than expected
				p.refuse(t, &QueueTimeoutError{RetryAfter: p.waitOf(t)}, now)
				continue
			}
			p.grant(t.lease, h, now)
		}
	}
	p.setAlarm(now)
}

// setAlarm has match called again when a host has rested for long enough, should have
// loaded a model, or a call was passed over for long enough, in case that nothing else
// happens till then.
func (p *Pool) setAlarm(now time.Time) {
	if p.queue.waiting == 0 {
		return
	}
	next, ok := p.queue.nextDue()
	earlier := func(at time.Time) {
		if at.After(now) && (!ok || at.Before(next) || !next.After(now)) {
			next, ok = at, true
		}
	}
	for _, h := range p.hosts {
		earlier(h.breaker.Until())
		earlier(h.rest)
		for _, l := range h.loading {
			earlier(l.began.Add(p.loadOf(l.key().model)))
		}
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

func (p *Pool) rematch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.match()
}

// free reports whether a host may be given another call.
func (p *Pool) free(h *host) bool {
	return len(h.lent) < h.slots() && (p.opts.MaxInFlight == 0 || p.totals.InFlight < p.opts.MaxInFlight)
}

// bestIdle is the free host that suits a call best, nil if there is none.
func (p *Pool) bestIdle(need route.Need, k groupKey, now time.Time) *host {
	p.scratch = p.scratch[:0]
	var last *host
	for _, h := range p.hosts {
		if !p.free(h) {
			continue
		}
		slot := freeSlot{p, h, p.queue.waiting + 1, now}
		s := slot.suits(k)
		if s == never || slot.defers(k, now) {
			continue
		}
		last = h
		p.scratch = append(p.scratch, route.Host{
			Name: h.name, Warm: s == warm, Busy: len(h.lent), Slots: h.slots(), Latency: h.latency.Value(now), Order: h.turn,
		})
	}
	if len(p.scratch) < 2 {
		return last
	}
	p.opts.Policy(need, p.scratch)
	for _, candidate := range p.scratch {
		if h := p.named(candidate.Name); h.well(now) && !h.doubtful(now) {
			return h
		}
	}
	return p.named(p.scratch[0].Name)
}

// named is the host of a name, nil if there is none.
func (p *Pool) named(name string) *host {
	for _, h := range p.hosts {
		if h.name == name {
			return h
		}
	}
	return nil
}

// grant gives a call a free slot of a host.
func (p *Pool) grant(l *Lease, h *host, now time.Time) {
	if !h.permits.TryAcquire(1) || p.all != nil && !p.all.TryAcquire(1) {
		panic("pool: a slot that is free has no permit")
	}
	if h.limit != nil && len(h.lent) == 0 {
		h.limit.Idle(now)
	}
	h.lent = append(h.lent, l)
	p.totals.InFlight++
	p.turn++
	h.turn = p.turn
	p.queue.start(&l.ticket, max(p.expected(l.key()), time.Millisecond))
	l.host, l.began = h, now
	l.pass, _ = h.breaker.Allow(now) // none for a host that is asked for want of others
	l.measured = measured{Backend: h.backend, pool: p, lease: l}
	l.Host = &l.measured
	l.Context = h.memory.chosenContext(l.key())
	p.tries(l, now)
	if l.ready != nil {
		p.rates.growth.add(now, -1)
		close(l.ready)
	}
}

// tries takes in that a host is about to be asked for a model, and may have to load it.
func (p *Pool) tries(l *Lease, now time.Time) {
	h, k := l.host, l.key()
	if k.model == "" {
		return
	}
	if own := h.habits[k.model]; own != nil {
		own.tried = now
	}
	if p.opts.InMemory || h.memory.holds(k) {
		return
	}
	l.cold = true
	l.loads()
	common := habitOf(p.habits, k.model)
	common.paid = now.Add(common.load.mean)
}

// release frees the slot of a lease, and gives it to the next.
func (p *Pool) release(l *Lease) {
	h, now := l.host, time.Now()
	l.over = true
	l.loadsNoMore()
	h.breaker.Record(now, l.pass, l.outcome)
	// Loading is nobody's: it serves all who want the model after.
	p.queue.done(&l.ticket, max(0, now.Sub(l.began)-l.seen.load))
	p.totals.InFlight--
	h.lent = slices.DeleteFunc(h.lent, func(other *Lease) bool { return other == l })
	h.permits.Release(1)
	h.resize()
	if p.all != nil {
		p.all.Release(1)
	}
	h.drain()
	p.match()
}
