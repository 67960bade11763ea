package pool

import (
	"context"
	"maps"
	"slices"
	"time"
)

const (
	// loadedAtOnce is the reported load time below which a model was in memory already: Ollama
	// reports a few milliseconds then, and the smallest models take 280 ms to load.
	loadedAtOnce = 200 * time.Millisecond
	// longestLoad is longer than loading any model takes. Ollama has no such limit: it gives up
	// loading after no progress for the duration of stall.
	longestLoad = time.Hour
	stall       = 5 * time.Minute
	// keptFor is how long Ollama keeps a model in memory by default.
	keptFor = 5 * time.Minute
)

// startLoading records that the host has to load the model for a call.
func (l *Lease) startLoading() {
	l.loading = true
	l.host.loading = append(l.host.loading, l)
}

// stopLoading records that loading is over, whether the model is in memory now or not.
func (l *Lease) stopLoading() {
	if l.loading {
		l.loading, l.host.slotless = false, false
		l.host.loading = slices.DeleteFunc(l.host.loading, func(other *Lease) bool { return other == l })
	}
}

// isLoadStuck reports whether calls have waited for the model for longer than loading any model
// takes. A cold start is no failure, but one without end is.
func (l *Lease) isLoadStuck(now time.Time) bool {
	own := l.own
	if own.waited.IsZero() {
		own.waited = l.began
	}
	return now.Sub(own.waited) >= longestLoad
}

// loader returns the first of the calls for which the host is loading a model; nil if it is not.
func (h *host) loader(model string) *Lease {
	for _, l := range h.loading {
		if l.key().model == model {
			return l
		}
	}
	return nil
}

// load is the loading of a model on a host.
type load struct {
	key modelKey
	at  time.Time // when it began or, of one that is over, ended
}

// loadingOf returns how the host is loading a model, for a call of this pool or, if there is none, of
// another. It is not ok if it is not.
func (h *host) loadingOf(model string) (l load, ok bool) {
	if own := h.loader(model); own != nil {
		return load{own.key(), own.began}, true
	}
	i := slices.IndexFunc(h.loadsElsewhere, func(l load) bool { return l.key.model == model })
	if i < 0 {
		return load{}, false
	}
	return h.loadsElsewhere[i], true
}

// isLoadedElsewhere reports whether the host is loading a call's model for a call of another pool. This
// one may wait there too: it has nothing loaded itself.
func (h *host) isLoadedElsewhere(k modelKey) bool {
	return slices.ContainsFunc(h.loadsElsewhere, func(l load) bool { return l.key == k })
}

// otherLoad returns since when the host is loading another model than that of a call; not ok if it is not.
func (h *host) otherLoad(k modelKey) (began time.Time, ok bool) {
	if len(h.loading) > 0 {
		return h.loading[0].began, true
	}
	for _, l := range h.loadsElsewhere {
		if l.key != k && (!ok || l.at.Before(began)) {
			began, ok = l.at, true
		}
	}
	return began, ok
}

// hasSlotFor reports whether the host has a slot for another call of a group, which does not wait for a
// model to be loaded.
func (h *host) hasSlotFor(k groupKey, now time.Time) bool {
	return !h.isLoadingBefore(k) && h.hasSlot(k.model.model, now)
}

// isLoadingBefore reports whether the calls of a group would wait on the host for a model to be loaded that
// it is loading: their own, or another if theirs has to be loaded afterwards, since Ollama loads one model
// at a time. But where another pool has their model loaded, one call may wait on the host: when that is done
// is heard later than the host answers.
func (h *host) isLoadingBefore(k groupKey) bool {
	model := k.model.model
	if model == "" || h.inMemory {
		return false
	}
	_, loads := h.otherLoad(k.model)
	return h.loader(model) != nil || loads && !h.memory.holds(k.model)
}

// mustWait reports whether a call of a model in memory is better off in the queue than on a host that is
// loading another model. If the two do not fit into memory together, Ollama does not begin to load one
// while there are calls for the other. Until it is known whether they fit, calls of the other model go on
// for MaxPassedOver at most, and only if no other host has their model.
func (f *freeSlot) mustWait(key groupKey) bool {
	h, k := f.host, key.model
	began, loads := h.otherLoad(k)
	if !loads {
		return false
	}
	switch age := f.now.Sub(began); h.sharingOf(k.model) {
	case exclusive:
		return true
	case shared:
		return age >= stall // it may be waiting for memory all the same
	default:
		return age >= f.pool.opts.MaxPassedOver || f.isHeldElsewhere(key)
	}
}

// isInUse reports whether the host would have to load the call's model, and cannot do so until the
// calls for another model have ended, because the two do not fit into memory together. More calls
// for the other model may arrive, and would be served without loading. Until it is known whether
// the two fit, the host tries it only for a model that no other host has or is loading.
func (f *freeSlot) isInUse(k groupKey) bool {
	if k.model.model == "" || f.host.memory.holds(k.model) {
		return false
	}
	isUnknown := false
	for _, l := range f.host.lent {
		if l.key() != k.model {
			if l.own.sharing == exclusive {
				return true
			}
			isUnknown = isUnknown || l.own.sharing == unknown
		}
	}
	return isUnknown && f.isHeldElsewhere(k)
}

// isHeldElsewhere reports whether another host that is well has the model in memory, or should
// have it soon.
func (f *freeSlot) isHeldElsewhere(k groupKey) bool {
	times := known(&f.pool.models, k.model.model)
	if times != nil && times.holder != nil && f.isHeldBy(times.holder, k) {
		return true
	}
	i := slices.IndexFunc(f.pool.hosts, func(h *host) bool { return f.isHeldBy(h, k) })
	if i >= 0 && times != nil {
		times.holder = f.pool.hosts[i]
	}
	return i >= 0
}

func (f *freeSlot) isHeldBy(h *host, k groupKey) bool {
	if h == f.host || h.removed {
		return false
	}
	l, loads := h.loadingOf(k.model.model)
	isComing := loads && l.key == k.model && f.now.Sub(l.at) < max(f.pool.loadOf(k.model.model), f.pool.opts.MaxPassedOver)
	return (isComing || h.memory.holds(k.model)) && h.could(k, f.now) && h.conditionFor(k, f.now) == well
}

// sharing says whether a model stays in memory when its host loads another, as was observed last.
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

// markLoaded records that a call's model is in memory, and whether it had to be loaded.
func (h *host) markLoaded(l *Lease, anew bool) {
	l.stopLoading()
	l.own.waited = time.Time{}
	if anew {
		now := time.Now()
		h.forgetLoads(now)
		h.lastLoads = append(h.lastLoads, load{l.key(), now})
	}
	h.nowHolds(l.key(), anew, time.Now())
}

// forgetLoads forgets the loads that ended so long ago that other pools have been told of them.
func (h *host) forgetLoads(now time.Time) {
	h.lastLoads = slices.DeleteFunc(h.lastLoads, func(l load) bool { return now.Sub(l.at) >= toldFor })
}

// nowHolds records that a model is in memory, as of a time. If it had to be loaded, the other models are
// believed to be in memory still only if they have stayed there before.
func (h *host) nowHolds(k modelKey, anew bool, at time.Time) {
	h.slotless = false
	h.loadsElsewhere = slices.DeleteFunc(h.loadsElsewhere, func(l load) bool { return l.key == k })
	if anew {
		h.memoryAt = at
		delete(h.memory, k.model)
		maps.DeleteFunc(h.memory, func(model string, _ resident) bool { return h.sharingOf(model) != shared })
	}
	h.memory.hold(k)
	for _, other := range h.lent { // a call for a model that was evicted waits on the host now
		if k := other.key(); k.model != "" && !other.loading && !other.seen.pieces && !h.memory.holds(k) {
			other.startLoading()
		}
	}
}

// learnLoaded records what a check found in memory.
func (h *host) learnLoaded(found []Loaded) {
	for _, l := range found {
		if h.memory[l.Model].chosen {
			own := h.model(l.Model)
			own.context = max(own.context, l.NumCtx)
		}
	}
	memory := h.memory.merge(found)
	// Ollama lists a model as soon as there is room for it, though it is not loaded yet.
	room := !slices.ContainsFunc(h.loading, func(l *Lease) bool { return !memory.holds(l.key()) })
	for _, l := range h.loading {
		delete(memory, l.key().model)
	}
	for _, l := range h.loadsElsewhere {
		delete(memory, l.key.model)
	}
	for model := range memory {
		switch own := h.model(model); {
		case room && len(found) > 1:
			own.sharing = shared
		case !room && own.sharing == shared: // the host may be waiting until this model is not in use
			own.sharing = unknown
		}
	}
	if room {
		h.memory, h.memoryAt, h.slotless = memory, time.Now(), false
	}
}

// requestStarts records that a request is sent to a host, and how to cancel it. A request that is
// sent after the end of its lease has the host load the model for later calls.
func (p *Pool) requestStarts(l *Lease, end context.CancelCauseFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.end = end
	if l.over && !l.loading && !l.host.inMemory && !l.host.memory.holds(l.key()) {
		l.startLoading()
	}
}

// answerBegan records that the first piece of an answer has arrived.
func (p *Pool) answerBegan(l *Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.noteFirst(l) {
		p.match()
	}
}

// noteFirst records that an answer has begun, so that the model is in memory. It reports whether
// other calls may have waited for that.
func (p *Pool) noteFirst(l *Lease) (awaited bool) {
	if l.seen.pieces {
		return false
	}
	l.seen.pieces, l.heard = true, time.Now()
	l.own.silence.hear(l.heard)
	p.read.Read(l.prefixes, l.host.name)
	awaited = l.loading || l.ticket.Key.afterCrash
	h, k := l.host, l.key()
	if k.model != "" && !h.inMemory && (l.loading || !h.memory.holds(k)) {
		h.markLoaded(l, time.Since(l.began) >= loadedAtOnce)
	}
	return awaited
}

// answerEnded records what was observed of an answer, complete or not.
func (p *Pool) answerEnded(l *Lease, s observation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	awaited := p.noteFirst(l)
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

// answerFailed records that a host failed before its answer was complete, perhaps because the
// model crashed.
func (p *Pool) answerFailed(l *Lease, crashed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.seen.crashed = crashed && l.mayBeWhy(time.Now())
	if l.loadOutlivedLease() {
		p.match()
	}
}

// loadOutlivedLease ends the loading of a model that went on after the end of its lease, and
// reports whether there was any.
func (l *Lease) loadOutlivedLease() bool {
	if !l.over || !l.loading {
		return false
	}
	l.stopLoading()
	return true
}

// learnSharing learns from a call that was answered whether models share the memory. loaded says
// whether the model had to be loaded for the call.
func (l *Lease) learnSharing(loaded bool) {
	own := l.own
	if l.began.Before(own.crashed) {
		return // it was answered by a process that has died since
	}
	switch {
	case loaded:
		if l.began.Sub(own.answered) < keptFor {
			own.sharing = exclusive
		}
		if !l.cold { // the model had been evicted
			l.host.markLoaded(l, true)
		}
	case l.cold && len(l.host.loading) == 0: // the model had seemed to be evicted
		own.sharing = shared
	}
	if memory := l.host.memory; !loaded && memory.holds(l.key()) {
		memory.hold(l.key()) // a check that finds a model does not see all its options
	}
	own.answered = time.Now()
}
