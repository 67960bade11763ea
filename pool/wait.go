package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fairqueue"
	"ollama-mcp/internal/route"
)

// ticket is the place of a lease in the queue.
type ticket = fairqueue.Ticket[groupKey, *Lease]

// groupKey identifies calls that are alike to every host.
type groupKey struct {
	model modelKey
	host  string // the only host that may serve them; "" for any
	tried string // names of hosts where attempts have failed, each ending in a NUL

	localOnly bool // the calls may not leave for a cloud

	afterCrash bool // the calls may have crashed a model; see crashes
}

// allows reports whether a host may serve the calls.
func (k groupKey) allows(h *host) bool { return k.host == "" || k.host == h.name }

func classOf(p route.Priority) fairqueue.Class {
	if p == route.Batch {
		return fairqueue.Batch
	}
	return fairqueue.Interactive
}

// acquire waits for a slot.
func (p *Pool) acquire(ctx context.Context, need route.Need, failed []Failure) (*Lease, error) {
	l := &Lease{Attempt: len(failed) + 1, Failed: failed, onFirst: need.OnFirst, prefixes: need.Prefixes}
	l.Runner, l.Overridden = withPinned(need, p.pins(need))
	l.deadline, l.maxPause = deadlineOf(ctx, need), maxPause(need)
	l.ticket = ticket{
		Key:   groupKey{model: keyOf(need.Model, l.Runner), host: need.Host, localOnly: need.LocalOnly, tried: names(need.Tried, failed), afterCrash: crashes(failed) > 0},
		Class: classOf(need.Priority), Caller: need.Caller, Size: need.Bytes, Value: l,
	}
	if err := p.enter(ctx, need, l); err != nil {
		return nil, err
	}
	entered := time.Now()
	if l.ready != nil {
		if need.OnWait != nil {
			need.OnWait(l.first, func() route.Standing { return p.standing(l) })
		}
		select {
		case <-l.ready:
		case <-ctx.Done():
		}
		if err := p.leaveQueue(ctx, l); err != nil {
			return nil, err
		}
	}
	l.Waited = max(0, l.began.Sub(entered))
	if need.OnGrant != nil {
		need.OnGrant(route.Grant{Host: l.measured.Name(), Attempt: l.Attempt, Waited: l.Waited, Choice: l.choice})
	}
	return l, nil
}

// enter gives a request a free slot, or else a place in the queue, or refuses it.
func (p *Pool) enter(ctx context.Context, need route.Need, l *Lease) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if l.Attempt == 1 {
		p.budget.Call(now)
		p.totals.Calls++
		p.totals.Open++
		p.rates.calls.add(now, 1)
	}
	if ctx.Err() != nil {
		return p.gaveUp(ctx, l)
	}
	p.openClouds(need.Model)
	if err := p.whyUnservable(l.ticket.Key, now); err != nil {
		return err
	}
	if err := p.whyResting(l, now); err != nil {
		return err
	}
	k, atOnce := l.ticket.Key, false
	if p.queue.Len() == 0 {
		if h, why := p.takeBest(need, k, now); h != nil {
			p.grant(l, h, why, now)
			return nil
		}
	} else {
		atOnce = p.isServed(k, now) // match may give that slot to a call whose turn it is; then its place is free
	}
	if need.OnWait != nil {
		l.first = p.arriving(&l.ticket)
	}
	if !atOnce && l.Attempt == 1 { // a retry is never turned away
		if err := p.checkQueue(&l.ticket, now); err != nil {
			return err
		}
	}
	l.ready, l.queued = make(chan struct{}), now
	p.joins(k, now)
	p.queue.Push(now, &l.ticket, l.Attempt > 1)
	p.rates.growth.add(now, 1)
	if p.match(); !l.ticket.Waits() {
		l.first = route.Standing{Of: p.queue.Len()}
	} else if p.divided {
		select {
		case p.short <- struct{}{}:
		default: // it is known already
		}
	}
	return nil
}

// leaveQueue ends the wait of a request that has been given a slot, refused, or cancelled.
func (p *Pool) leaveQueue(ctx context.Context, l *Lease) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case l.refused != nil:
		return l.refused
	case ctx.Err() == nil:
		return nil
	case l.host != nil: // it was given a slot and cancelled at the same time
		p.release(l)
		p.match()
	default:
		p.queue.Remove(&l.ticket)
		p.rates.growth.add(time.Now(), -1)
	}
	return p.gaveUp(ctx, l)
}

// gaveUp returns the error of a call whose context ended while it waited.
func (p *Pool) gaveUp(ctx context.Context, l *Lease) error {
	if !timedOut(ctx) {
		return gaveUp(ctx, 0) // the caller left, and is not told for how long the others wait
	}
	return gaveUp(ctx, p.waitOf(&l.ticket))
}

// whyUnservable returns why no host can serve the requests of a group; nil if one can, once it is
// well and has a free slot.
func (p *Pool) whyUnservable(k groupKey, now time.Time) error {
	var refused []Failure
	for _, h := range p.hosts {
		if h.could(k, now) {
			return nil
		}
		if !k.allows(h) || h.isCloudPart {
			continue
		}
		err := h.hasNoRoom(k.model, now)
		switch {
		case k.localOnly && h.isCloud(k.model.model):
			err = errInCloud(h.name, k.model.model)
		case err == nil:
			err = &backend.Error{Class: backend.ModelMissing, Message: fmt.Sprintf("model %q is not installed", k.model.model)}
		}
		refused = append(refused, Failure{Host: h.name, Err: err})
	}
	switch {
	case len(refused) > 0:
		return whyCannotServe(refused)
	case k.host != "":
		return &NoHostError{Hosts: []Failure{{Host: k.host, Err: errors.New("there is no such host")}}}
	}
	return &NoHostError{}
}

// refuseUnservable ends the wait of requests that no host can serve any longer.
func (p *Pool) refuseUnservable() {
	now := time.Now()
	for _, t := range p.queue.WithKey(func(k groupKey) bool { return p.whyUnservable(k, now) != nil }) {
		p.refuse(t, p.whyUnservable(t.Key, now), now)
	}
}

// refuse ends the wait of a call with an error.
func (p *Pool) refuse(t *ticket, err error, now time.Time) {
	p.queue.Remove(t)
	p.rates.growth.add(now, -1)
	t.Value.refused = err
	close(t.Value.ready)
}

// wellKnown is how many calls must have been timed before a call is refused because of its
// expected duration.
const wellKnown = paceMemory

// fullQueues is how many models may have a full queue at the same time. It bounds the total, since
// callers may name any number of models.
const fullQueues = 4

// sharesQueue reports whether calls wait for the same model and the same hosts. Such calls have a
// bound of their own, so that those for a slow model take no places from the others.
func (k groupKey) sharesQueue(other groupKey) bool {
	return k.model.model == other.model.model && k.host == other.host
}

// checkQueue returns an error for a call if the queue is full, or the wait would be too long for
// its deadline.
func (p *Pool) checkQueue(t *ticket, now time.Time) error {
	waiting := p.waiting(fairqueue.Interactive, t.Key.sharesQueue) + p.waiting(fairqueue.Batch, t.Key.sharesQueue)
	mine, all := p.queue.WaitingOf(t.Class, t.Caller, t.Key.sharesQueue), p.queue.WaitingOf(t.Class, t.Caller, anyKey)
	full := func(waiting int, ofCaller bool) error {
		return &FullError{Waiting: waiting, Caller: ofCaller, RetryAfter: max(p.wait(1, t.Key), time.Second)}
	}
	switch {
	case waiting >= p.opts.Queue:
		return full(waiting, false)
	case p.queue.Len() >= fullQueues*p.opts.Queue || p.queue.Size()+t.Size > p.opts.QueueBytes:
		return full(p.queue.Len(), false)
	case mine >= p.opts.PerCaller || all >= fullQueues*p.opts.PerCaller:
		return full(max(mine, all), true)
	}
	if p.pace.samples < wellKnown || p.isSurelySoon(t, now) {
		return nil
	}
	if wait := p.waitOf(t); p.isTooLate(t, now.Add(wait)) {
		return &QueueTimeoutError{RetryAfter: wait}
	}
	return nil
}

// isSurelySoon reports whether a call that arrives now gets its slot in time even if all the calls
// that wait go before it and take as long as those of the slowest model. It looks at no more hosts
// than it takes to be sure, and saves most calls the exact estimate, which looks at all.
func (p *Pool) isSurelySoon(t *ticket, now time.Time) bool {
	slowest := p.expected(t.Key.model)
	for _, class := range []fairqueue.Class{fairqueue.Interactive, fairqueue.Batch} {
		for key := range p.queue.Keys(class) {
			slowest = max(slowest, p.expected(key.model))
		}
	}
	work, slots := slowest*time.Duration(p.queue.Len()+1), 0
	for _, h := range p.hosts {
		if _, loads := h.loadingOf(t.Key.model.model); !loads && p.serves(h, t.Key, now) {
			slots += h.slotsOf(t.Key.model.model, now)
			if slots = min(slots, cmp.Or(p.opts.MaxInFlight, slots)); !p.isTooLate(t, now.Add(work/time.Duration(slots))) {
				return true
			}
		}
	}
	return false
}

func anyKey(groupKey) bool { return true }

// arriving returns how the wait of a call stands that is about to join the queue.
func (p *Pool) arriving(t *ticket) route.Standing {
	group, place := p.outlookOf(t.Key), p.upTo(t, p.rivalsOf(t.Key))
	return route.Standing{Place: place, Of: p.queue.Len() + 1, Expect: group.wait(place), Loading: group.loading, Batch: t.Class == fairqueue.Batch}
}

// isTooLate reports whether a call that gets a slot at some time is unlikely to end before its
// deadline. Only half of the usual duration is required, since some calls are short.
func (p *Pool) isTooLate(t *ticket, at time.Time) bool {
	return p.pace.samples >= wellKnown && t.Value.deadline.before(at.Add(p.expected(t.Key.model)/2))
}

// waitOf estimates how long a call waits that waits already or arrives now; 0 if nothing is known.
func (p *Pool) waitOf(t *ticket) time.Duration {
	return p.wait(p.upTo(t, p.rivalsOf(t.Key)), t.Key)
}

// upTo estimates how many rivals are served up to a call that waits or arrives now, the call
// included: under fair sharing, no more calls of each other caller than of its own.
func (p *Pool) upTo(t *ticket, rival func(groupKey) bool) int {
	waiting, mine := p.waiting(fairqueue.Interactive, rival), p.queue.WaitingOf(t.Class, t.Caller, rival)
	_, callers := p.queue.LenOf(t.Class)
	if !t.Waits() {
		waiting, mine = waiting+1, mine+1
		if p.queue.WaitingOf(t.Class, t.Caller, anyKey) == 0 {
			callers++
		}
	}
	if t.Class == fairqueue.Batch {
		return waiting + p.waiting(fairqueue.Batch, rival)
	}
	return min(waiting, mine*callers)
}

// waiting counts the waiting calls of a class in groups that meet a condition.
func (p *Pool) waiting(c fairqueue.Class, meets func(groupKey) bool) (n int) {
	for key, calls := range p.queue.Keys(c) {
		if meets(key) {
			n += calls
		}
	}
	return n
}

// rivalsOf returns a function that reports whether the calls of a group compete for slots with those
// of another: there is a host that can serve both.
func (p *Pool) rivalsOf(k groupKey) func(groupKey) bool {
	now := time.Now()
	var mine []*host
	for _, h := range p.hosts {
		if h.could(k, now) {
			mine = append(mine, h)
		}
	}
	return func(other groupKey) bool {
		return slices.ContainsFunc(mine, func(h *host) bool { return h.could(other, now) })
	}
}

// wait estimates how long the call at a place in the queue waits, at the recent pace; 0 if nothing
// is known, as while a model is being loaded. How long the calls on the hosts have been running is
// ignored: answers differ so much in length that it says little about the time that they still
// need, and nothing if their lengths are distributed exponentially.
func (p *Pool) wait(place int, k groupKey) time.Duration { return p.outlookOf(k).wait(place) }

// outlook is what the waiting calls of a group may expect.
type outlook struct {
	rivals int           // waiting calls that compete for slots with them, and they themselves
	pace   time.Duration // mean time for which a slot is held by those and one call of the group more
	slots  int           // that serve the group
	// loading says that they wait for their model to be loaded: a host is loading it, and no other host
	// that serves them has it in memory.
	loading bool
	rested  time.Duration // until a host has rested, if there are no slots
}

func (o outlook) wait(place int) time.Duration {
	if o.slots == 0 {
		return o.rested
	}
	return o.pace * time.Duration(place) / time.Duration(o.slots)
}

func (p *Pool) outlookOf(k groupKey) (o outlook) {
	now := time.Now()
	isLoaded := false
	for _, h := range p.hosts {
		switch _, loads := h.loadingOf(k.model.model); {
		case !p.serves(h, k, now):
		case loads:
			o.loading = true
		default:
			o.slots += h.slotsOf(k.model.model, now)
			isLoaded = isLoaded || h.memory.holds(k.model)
		}
	}
	o.loading = o.loading && !isLoaded
	if o.slots == 0 {
		o.rested = p.untilRested(k, now)
	}
	if p.opts.MaxInFlight > 0 {
		o.slots = min(o.slots, p.opts.MaxInFlight)
	}
	held, rival := p.expected(k.model), p.rivalsOf(k)
	for _, class := range []fairqueue.Class{fairqueue.Interactive, fairqueue.Batch} {
		for key, calls := range p.queue.Keys(class) {
			if rival(key) {
				held += p.expected(key.model) * time.Duration(calls)
				o.rivals += calls
			}
		}
	}
	o.pace = held / time.Duration(o.rivals+1)
	return o
}
