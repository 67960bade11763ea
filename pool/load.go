package pool

import (
	"context"
	"maps"
	"slices"
	"time"
)

const (
	// loadedAtOnce is the time for loading below which a model was in memory:
	// Ollama tells some milliseconds then; the smallest models take 280 to load.
	loadedAtOnce = 200 * time.Millisecond
	// longestLoad is longer than any load takes. Ollama has no such limit: it gives up a
	// load that has made no progress for stall.
	longestLoad = time.Hour
	stall       = 5 * time.Minute
	// keptFor is how long Ollama keeps a model in memory unless it is told otherwise.
	keptFor = 5 * time.Minute
)

// loads notes that the host has to load the model for a call.
func (l *Lease) loads() {
	l.loading = true
	l.host.loading = append(l.host.loading, l)
}

// loadsNoMore notes that loading is over, whether the model is in memory now or not.
func (l *Lease) loadsNoMore() {
	if l.loading {
		l.loading = false
		l.host.loading = slices.DeleteFunc(l.host.loading, func(other *Lease) bool { return other == l })
	}
}

// loadsInVain reports whether calls for the model have waited for it to be loaded for
// longer than any load takes. A cold start is no failure, but one without end is.
func (l *Lease) loadsInVain(now time.Time) bool {
	own := l.own
	if own.waited.IsZero() {
		own.waited = l.began
	}
	return now.Sub(own.waited) >= longestLoad
}

// loader is the first of the calls that the host loads a model for, nil if it does not.
func (h *host) loader(model string) *Lease {
	for _, l := range h.loading {
		if l.key().model == model {
			return l
		}
	}
	return nil
}

// mustWait reports whether a call is better off in the queue than on the host, which
// loads a model. It would wait inside if that is the call's own, or if its own has to
// be loaded too: Ollama loads one after the other. And if the two have no room beside
// each other, Ollama does not begin to load while there are calls for the other. Where it
// is not known yet whether they have, those go on for no longer than MaxPassedOver, and only
// if no other host has their model.
func (f *freeSlot) mustWait(key groupKey) bool {
	h, k := f.host, key.model
	if len(h.loading) == 0 {
		return false
	}
	if h.loader(k.model) != nil || !h.memory.holds(k) {
		return true
	}
	switch age := f.now.Sub(h.loading[0].began); h.sharingOf(k.model) {
	case exclusive:
		return true
	case shared:
		return age >= stall // it may wait for room all the same
	default:
		return age >= f.pool.opts.MaxPassedOver || f.isHeldElsewhere(key)
	}
}

// isInUse reports whether the host would have to load the call's model, and cannot before
// the calls have ended for another that has no room beside it. More of those may come
// soon, and would be served without loading. Where it is not known yet whether the two have
// room beside each other, that is only tried for a model that no other host has or loads.
func (f *freeSlot) isInUse(k groupKey) bool {
	if k.model.model == "" || f.host.memory.holds(k.model) {
		return false
	}
	elsewhere := f.isHeldElsewhere(k)
	return slices.ContainsFunc(f.host.lent, func(l *Lease) bool {
		return l.key() != k.model && (l.own.sharing == exclusive || l.own.sharing == unknown && elsewhere)
	})
}

// isHeldElsewhere reports whether another host that is well has the model in memory, or
// should soon have it.
func (f *freeSlot) isHeldElsewhere(k groupKey) bool {
	return slices.ContainsFunc(f.pool.hosts, func(h *host) bool {
		if h == f.host || !h.could(k, f.now) || h.conditionFor(k, f.now) != well {
			return false
		}
		l := h.loader(k.model.model)
		isComing := l != nil && l.key() == k.model && f.now.Sub(l.began) < max(f.pool.loadOf(k.model.model), f.pool.opts.MaxPassedOver)
		return h.memory.holds(k.model) || isComing
	})
}

// sharing is whether a model stays in memory when its host loads another, by what was seen
// last.
type sharing int

const (
	unknown sharing = iota
	shared
	exclusive
)

func (h *host) sharingOf(model string) sharing {
	if own := known(&h.models, model); own != nil {
		return own.sharing
	}
	return unknown
}

// isLoaded takes in that a call's model is in memory. If it had to be loaded, only
// those of the others are believed to be there still which have stayed before.
func (h *host) isLoaded(l *Lease, anew bool) {
	l.loadsNoMore()
	l.own.waited = time.Time{}
	if anew {
		delete(h.memory, l.key().model)
		maps.DeleteFunc(h.memory, func(model string, _ resident) bool { return h.sharingOf(model) != shared })
	}
	h.memory.hold(l.key())
	for _, other := range h.lent { // one that came too late waits inside now
		if k := other.key(); k.model != "" && !other.loading && !other.seen.pieces && !h.memory.holds(k) {
			other.loads()
		}
	}
}

// learnLoaded takes in what a check found in memory.
func (h *host) learnLoaded(found []Loaded) {
	for _, l := range found {
		if h.memory[l.Model].chosen {
			own := h.model(l.Model)
			own.context = max(own.context, l.NumCtx)
		}
	}
	memory := h.memory.saw(found)
	// Ollama lists a model as soon as there is room for it, though it is not loaded yet.
	room := !slices.ContainsFunc(h.loading, func(l *Lease) bool { return !memory.holds(l.key()) })
	for _, l := range h.loading {
		delete(memory, l.key().model)
	}
	for model := range memory {
		switch own := h.model(model); {
		case room && len(found) > 1:
			own.sharing = shared
		case !room && own.sharing == shared: // the host may wait until this is not used any more
			own.sharing = unknown
		}
	}
	if room {
		h.memory = memory
	}
}

// asks takes in that a host is asked, and how that can be ended. After the end of a lease
// it is asked to have the model loaded for calls to come.
func (p *Pool) asks(l *Lease, end context.CancelCauseFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.end = end
	if l.over && !l.loading && !l.host.inMemory && !l.host.memory.holds(l.key()) {
		l.loads()
	}
}

// answerBegan takes in that the first piece of an answer has come.
func (p *Pool) answerBegan(l *Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.begun(l) {
		p.match()
	}
}

// begun notes that something of an answer has come, so that the model is in memory. It
// reports whether other calls may have waited for that.
func (p *Pool) begun(l *Lease) (awaited bool) {
	if l.seen.pieces {
		return false
	}
	l.seen.pieces, l.heard = true, time.Now()
	l.own.silence.hear(l.heard)
	awaited = l.loading || l.ticket.Key.afterCrash
	h, k := l.host, l.key()
	if k.model != "" && !h.inMemory && (l.loading || !h.memory.holds(k)) {
		h.isLoaded(l, time.Since(l.began) >= loadedAtOnce)
	}
	return awaited
}

// answerEnded takes in what an answer has shown, be it whole or cut off.
func (p *Pool) answerEnded(l *Lease, s observation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	awaited := p.begun(l)
	awaited = l.loadOutlivedLease() || awaited
	if s.answered || s.load > 0 {
		s.crashed = l.seen.crashed
		l.seen = s
		if l.key().model != "" {
			l.learnSharing(s.load >= loadedAtOnce)
		}
	}
	if awaited {
		p.match()
	}
}

// answerFailed takes in that a host has failed before its answer was complete, perhaps
// because the model crashed.
func (p *Pool) answerFailed(l *Lease, crashed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.seen.crashed = crashed && l.mayBeWhy(time.Now())
	if l.loadOutlivedLease() {
		p.match()
	}
}

// loadOutlivedLease ends a load that went on after the end of its lease, well or badly, and
// reports whether there was one.
func (l *Lease) loadOutlivedLease() bool {
	if !l.over || !l.loading {
		return false
	}
	l.loadsNoMore()
	return true
}

// learnSharing takes in that a call was answered, by a model that had to be loaded for it
// or not.
func (l *Lease) learnSharing(loaded bool) {
	own := l.own
	if l.began.Before(own.crashed) {
		return // what it says is of a process that is no more
	}
	switch {
	case loaded:
		if l.began.Sub(own.answered) < keptFor {
			own.sharing = exclusive
		}
		if !l.cold { // it was gone, and came back
			l.host.isLoaded(l, true)
		}
	case l.cold && len(l.host.loading) == 0: // it had been taken for gone
		own.sharing = shared
	}
	if memory := l.host.memory; !loaded && memory.holds(l.key()) {
		memory.hold(l.key()) // a check that found it could not tell with which options
	}
	own.answered = time.Now()
}
