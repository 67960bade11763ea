package pool

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/breaker"
	"ollama-mcp/internal/fairqueue"
	"ollama-mcp/internal/route"
)

// plainPool is a pool that decides as simply as it can be said: each time, it looks at all hosts, all
// models on them and all calls there. What the pool keeps in order to look at less must never show.
type plainPool struct {
	*Pool
	alarm *time.Timer
}

// quietly has a pool give out no slots while f runs.
func quietly(p *Pool, f func()) {
	taken := int64(0)
	for p.all.TryAcquire(1) {
		taken++
	}
	f()
	p.all.Release(taken)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alarm != nil { // it would not be quiet
		p.alarm.Stop()
		p.alarm = nil
	}
}

// rematch gives out slots, and forgets the alarm, as quietly does.
func (p *plainPool) rematch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alarm != nil {
		p.alarm.Stop()
		p.alarm = nil
	}
	p.match()
}

func (p *plainPool) enter(ctx context.Context, need route.Need, l *Lease) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, k := time.Now(), l.ticket.Key
	if l.Attempt == 1 {
		p.budget.Call(now)
		p.totals.Calls++
		p.totals.Open++
		p.rates.calls.add(now, 1)
	}
	if err := p.whyUnservable(k, now); err != nil {
		return err
	}
	if err := p.whyResting(l, now); err != nil {
		return err
	}
	h, why := p.takeBest(need, k, now)
	if h != nil && p.queue.Len() == 0 {
		p.grant(l, h, why, now)
		return nil
	}
	if h != nil {
		p.untake(h)
	} else if l.Attempt == 1 {
		if err := p.checkQueue(&l.ticket, now); err != nil {
			return err
		}
	}
	l.ready, l.queued = make(chan struct{}), now
	p.queue.Push(now, &l.ticket, l.Attempt > 1)
	p.rates.growth.add(now, 1)
	p.match()
	return nil
}

func (p *plainPool) checkQueue(t *ticket, now time.Time) error {
	waiting := p.waiting(fairqueue.Interactive, t.Key.sharesQueue) + p.waiting(fairqueue.Batch, t.Key.sharesQueue)
	mine, all := p.queue.WaitingOf(t.Class, t.Caller, t.Key.sharesQueue), p.queue.WaitingOf(t.Class, t.Caller, anyKey)
	switch {
	case waiting >= p.opts.Queue, p.queue.Len() >= fullQueues*p.opts.Queue, mine >= p.opts.PerCaller, all >= fullQueues*p.opts.PerCaller:
		return &FullError{Waiting: waiting}
	}
	if wait := p.waitOf(t); p.isTooLate(t, now.Add(wait)) {
		return &QueueTimeoutError{RetryAfter: wait}
	}
	return nil
}

func (p *plainPool) record(ctx context.Context, l *Lease, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle(ctx, l, err, time.Now())
	p.match()
}

func (p *plainPool) match() {
	if p.queue.Len() == 0 {
		return
	}
	now := time.Now()
	hosts := slices.DeleteFunc(slices.Clone(p.hosts), func(h *host) bool { return len(h.lent) >= h.most })
	slices.SortStableFunc(hosts, func(a, b *host) int {
		return cmp.Or(cmp.Compare(max(p.clock, a.turns), max(p.clock, b.turns)), cmp.Compare(a.turn, b.turn))
	})
	for _, h := range hosts {
		for p.queue.Len() > 0 && p.take(h) {
			t := p.queue.Pick(now, &plainSlot{freeSlot{pool: p.Pool, host: h, waiting: p.queue.Len(), now: now}})
			if t == nil {
				p.untake(h)
				break
			}
			if p.isTooLate(t, now) {
				p.untake(h)
				p.refuse(t, &QueueTimeoutError{}, now)
				continue
			}
			p.grant(t.Value, h, route.Choice{}, now)
		}
	}
	p.setAlarm(now)
}

func (p *plainPool) setAlarm(now time.Time) {
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
		earlier(h.breaker.Until())
		earlier(h.rest.until())
		for _, own := range h.models.All() {
			earlier(own.breaker.Until())
			earlier(own.rest.until())
		}
		for _, l := range h.loading {
			earlier(l.began.Add(p.loadOf(l.key().model)))
		}
		for _, l := range h.lent {
			if l.isSilent() {
				earlier(now.Add(max(now.Sub(l.began), silenceStep)))
			}
		}
	}
	switch {
	case !ok || !next.After(now):
	case p.alarm == nil:
		p.alarm = time.AfterFunc(next.Sub(now), func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.match()
		})
	default:
		p.alarm.Reset(next.Sub(now))
	}
}

// takeBest is the pool's, without its scratch.
func (p *plainPool) takeBest(need route.Need, k groupKey, now time.Time) (*host, route.Choice) {
	if !p.takeOfAll() {
		return nil, route.Choice{}
	}
	p.scratch, p.free = nil, nil
	for _, h := range p.hosts {
		if !h.permits.TryAcquire(1) {
			continue
		}
		slot := plainSlot{freeSlot{pool: p.Pool, host: h, waiting: p.queue.Len() + 1, now: now}}
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
	for _, h := range p.free {
		if h != best {
			h.permits.Release(1)
		}
	}
	if best == nil {
		p.untakeOfAll()
	}
	return best, route.Choice{}
}

// plainSlot is a free slot that is compared with all other hosts.
type plainSlot struct{ freeSlot }

func (f *plainSlot) Fit(k groupKey) fairqueue.Fit {
	switch {
	case !f.host.hasSlotFor(k, f.now) || !f.plainServes(k) || k.afterCrash && f.host.isRetryingAfterCrash():
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

func (f *plainSlot) plainServes(k groupKey) bool {
	h, now := f.host, f.now
	if !h.could(k, now) || h.isResting(k.model.model, now) {
		return false
	}
	mine := h.conditionFor(k, now)
	if mine == well {
		return true
	}
	best, healthy, reachable := gone, 0, 0
	for _, other := range f.pool.hosts {
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

func (f *plainSlot) Defers(k groupKey, since time.Time) bool {
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

func (f *plainSlot) byOthers(k groupKey, common *modelTimes, mine float64) (all float64, ok bool) {
	var best, rate float64
	free := 0
	for _, h := range f.pool.hosts {
		cost := float64(max(1, h.cost(k.model, common, f.now)))
		model := k.model.model
		if h == f.host || cost*worthwhile >= mine || !h.could(k, f.now) || h.conditionFor(k, f.now) != well || h.doubtfulFor(model, f.now) {
			continue
		}
		if best == 0 || cost < best {
			best = cost
		}
		rate += float64(h.slotsOf(model, f.now)) / cost
		if slot := (&plainSlot{freeSlot{pool: f.pool, host: h, now: f.now}}); !slot.isInUse(k) {
			free += h.freeFor(k, f.now)
		}
	}
	if rate == 0 {
		return 0, false
	}
	return best + float64(max(0, f.waiting-free))/rate, true
}

// twins are a pool and a plain one to which the same happens.
type twins struct {
	t     *rapid.T
	rand  *rand.Rand
	fast  *Pool
	plain *plainPool
	calls []*pair
	seen  map[*breaker.Breaker]bool
}

// pair is a call of both pools.
type pair struct {
	fast, plain   *Lease
	errs          [2]error // with which each pool refused the call at once
	began, isOver bool
}

const (
	twinHosts  = 6
	twinModels = 4
)

func newTwins(t *rapid.T, seed uint64, slots Slots, policy route.Policy) *twins {
	w := &twins{t: t, rand: rand.New(rand.NewPCG(seed, seed)), seen: make(map[*breaker.Breaker]bool)}
	o := Options{Queue: 40, PerCaller: 30, MaxInFlight: 30, MaxPassedOver: 5 * time.Second, Policy: policy}
	var err error
	if w.fast, err = New(o); err != nil {
		t.Fatal(err)
	}
	plain, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.plain = &plainPool{Pool: plain}
	for i := range twinHosts {
		w.both(func(p *Pool) {
			if _, err := p.Add(idleHost{name: fmt.Sprint("gpu-", i)}, slots); err != nil {
				t.Fatal(err)
			}
		})
	}
	return w
}

// both does the same to both pools, and has them give out slots afterwards.
func (w *twins) both(f func(p *Pool)) {
	quietly(w.fast, func() { f(w.fast) })
	w.fast.rematch()
	quietly(w.plain.Pool, func() { f(w.plain.Pool) })
	w.plain.rematch()
}

// each does the same to both pools, each with its lease of a call.
func (w *twins) each(c *pair, f func(p *Pool, l *Lease)) {
	w.both(func(p *Pool) {
		if p == w.fast {
			f(p, c.fast)
		} else {
			f(p, c.plain)
		}
	})
}

// calm makes circuit breakers that are new rest for the same time in both pools.
func (w *twins) calm() {
	replace := func(b **breaker.Breaker) {
		if !w.seen[*b] {
			*b = breaker.New(func() float64 { return 0.5 })
			w.seen[*b] = true
		}
	}
	w.fast.mu.Lock()
	defer w.fast.mu.Unlock()
	w.plain.mu.Lock()
	defer w.plain.mu.Unlock()
	for _, p := range []*Pool{w.fast, w.plain.Pool} {
		for _, h := range p.hosts {
			replace(&h.breaker)
			for _, own := range h.models.All() {
				replace(&own.breaker)
			}
		}
	}
}

func (w *twins) arrive() {
	need := route.Need{Model: fmt.Sprint("model-", w.rand.IntN(twinModels)), Caller: fmt.Sprint("caller-", w.rand.IntN(3))}
	key := groupKey{model: keyOf(need.Model, nil)}
	l := Lease{Attempt: 1, maxPause: time.Minute}
	switch w.rand.IntN(20) {
	case 0:
		key.host = fmt.Sprint("gpu-", w.rand.IntN(twinHosts))
	case 1:
		l.Attempt, key.tried = 2, fmt.Sprint("gpu-", w.rand.IntN(twinHosts), "\x00")
	case 2:
		key.model.numCtx = 4096
	case 3:
		l.Attempt, key.afterCrash = 2, true
	case 4, 5, 6:
		l.deadline.ofContext = time.Now().Add(time.Duration(w.rand.IntN(60)) * time.Second)
	}
	class := fairqueue.Class(w.rand.IntN(5) / 4)
	c := &pair{}
	for i, lease := range []**Lease{&c.fast, &c.plain} {
		own := l
		own.ticket = ticket{Key: key, Class: class, Caller: need.Caller, Value: &own}
		*lease = &own
		if i == 0 {
			c.errs[i] = w.fast.enter(context.Background(), need, &own)
		} else {
			c.errs[i] = w.plain.enter(context.Background(), need, &own)
		}
	}
	c.isOver = c.errs[0] != nil || c.errs[1] != nil
	w.calls = append(w.calls, c)
}

// some is a call that meets a condition, chosen at random; nil if there is none.
func (w *twins) some(meets func(*pair) bool) *pair {
	w.fast.mu.Lock()
	defer w.fast.mu.Unlock()
	var all []*pair
	for _, c := range w.calls {
		if !c.isOver && meets(c) {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[w.rand.IntN(len(all))]
}

func (w *twins) leave() {
	if c := w.some(func(c *pair) bool { return c.fast.host == nil }); c != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		c.isOver = true
		w.each(c, func(p *Pool, l *Lease) { _ = p.leaveQueue(ctx, l) })
	}
}

func (w *twins) begin() {
	c := w.some(func(c *pair) bool { return c.fast.host != nil && !c.began })
	if c == nil {
		return
	}
	c.began = true
	w.each(c, (*Pool).answerBegan)
}

// finish ends a call that is on a host, in one of the ways in which calls end.
func (w *twins) finish() {
	c := w.some(func(c *pair) bool { return c.fast.host != nil })
	if c == nil {
		return
	}
	c.isOver = true
	var err error
	ctx := context.Background()
	switch failure := &(backend.Error{Host: c.fast.host.name, Message: "broken"}); w.rand.IntN(30) {
	case 0:
		failure.Class = backend.Transport
		err = failure
	case 1:
		failure.Class = backend.Crashed
		err = failure
	case 2:
		failure.Class, failure.RetryAfter = backend.Overload, 7*time.Second
		err = failure
	case 3:
		failure.Class = backend.NoRoom
		err = failure
	case 4:
		failure.Class = backend.Server
		err = failure
	case 5:
		late, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
		defer cancel()
		failure.Class, ctx, err = backend.Caller, late, failure
	default:
		c.began = true
		seen := observation{
			answered: true, pieces: true, tokens: 10 + w.rand.IntN(100), perToken: time.Duration(1+w.rand.IntN(40)) * time.Millisecond,
			firstToken: time.Duration(w.rand.IntN(900)) * time.Millisecond, load: time.Duration(w.rand.IntN(3)) * 400 * time.Millisecond,
		}
		w.each(c, func(p *Pool, l *Lease) { p.answerEnded(l, seen) })
	}
	w.fast.record(ctx, c.fast, err)
	w.plain.record(ctx, c.plain, err)
}

// check passes on the outcome of a check of a host.
func (w *twins) check() {
	name, f := fmt.Sprint("gpu-", w.rand.IntN(twinHosts)), Facts{Up: w.rand.IntN(3) > 0}
	if f.Up && w.rand.IntN(2) == 0 {
		f.Installed = []string{}
		for i := range twinModels {
			if w.rand.IntN(4) > 0 {
				f.Installed = append(f.Installed, fmt.Sprint("model-", i))
			}
		}
	}
	if f.Up && w.rand.IntN(2) == 0 {
		f.Loaded = []Loaded{{Model: fmt.Sprint("model-", w.rand.IntN(twinModels))}, {Model: fmt.Sprint("model-", w.rand.IntN(twinModels))}}
	}
	w.both(func(p *Pool) { p.Know(name, f) })
}

func (w *twins) resize() {
	name, s := fmt.Sprint("gpu-", w.rand.IntN(twinHosts)), Slots{Given: w.rand.IntN(4)}
	w.both(func(p *Pool) {
		if err := p.Resize(name, s); err != nil {
			w.t.Error(err)
		}
	})
}

// hear passes on what other pools have the hosts load, and have had them load. They leave all slots.
func (w *twins) hear() {
	parts := make(map[string]Part)
	some := func() (loads []Load) {
		for range w.rand.IntN(3) / 2 {
			l := Load{Model: fmt.Sprint("model-", w.rand.IntN(twinModels)), Age: time.Duration(w.rand.IntN(4000)) * time.Millisecond}
			if w.rand.IntN(2) == 0 {
				l.Takes, l.Holds = time.Duration(w.rand.IntN(8))*time.Second, time.Duration(w.rand.IntN(3))*time.Second
			}
			loads = append(loads, l)
		}
		return loads
	}
	for i := range twinHosts {
		parts[fmt.Sprint("gpu-", i)] = Part{Slots: maxSlots, Loading: some(), Loaded: some()}
	}
	w.both(func(p *Pool) { p.Divide(parts) })
}

// divide gives the pools a part of some hosts.
func (w *twins) divide() {
	parts := make(map[string]Part)
	for i := range twinHosts {
		if w.rand.IntN(2) == 0 {
			parts[fmt.Sprint("gpu-", i)] = Part{Slots: w.rand.IntN(4), Elsewhere: map[string]int{"model-0": w.rand.IntN(2)}}
		}
	}
	w.both(func(p *Pool) { p.Divide(parts) })
}

// agree reports whether both pools have done the same with all calls.
func (w *twins) agree(step int) bool {
	w.fast.mu.Lock()
	defer w.fast.mu.Unlock()
	w.plain.mu.Lock()
	defer w.plain.mu.Unlock()
	name := func(l *Lease) string {
		switch {
		case l.host != nil:
			return "on " + l.host.name
		case l.refused != nil:
			return fmt.Sprintf("refused: %T", l.refused)
		case l.ticket.Waits():
			return "waits"
		}
		return "gone"
	}
	for i, c := range w.calls {
		if a, b := fmt.Sprintf("%T", c.errs[0]), fmt.Sprintf("%T", c.errs[1]); a != b {
			w.t.Errorf("step %d: call %d is refused by %s, and plainly %s", step, i, a, b)
			return false
		}
		if a, b := name(c.fast), name(c.plain); a != b {
			w.t.Errorf("step %d: call %d (%+v) is %s, and plainly %s", step, i, c.fast.ticket.Key, a, b)
			return false
		}
		c.isOver = c.isOver || c.fast.refused != nil
	}
	return true
}

// However little of hosts, models and calls the pool looks at, it decides as if it had looked at all.
func TestPoolDecidesAsOneThatLooksAtEverything(t *testing.T) {
	policies := route.Policies()
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		slots := rapid.SampledFrom([]Slots{{}, {Given: 1}, {Given: 3}}).Draw(rt, "slots")
		policy := rapid.SampledFrom(policies).Draw(rt, "policy")
		busy := rapid.IntRange(2, 12).Draw(rt, "busy")
		hears := rapid.Bool().Draw(rt, "hears of other pools")
		synctest.Test(t, func(*testing.T) {
			w := newTwins(rt, seed, slots, policy)
			for step := range 250 {
				switch n := w.rand.IntN(30); {
				case n < busy:
					w.arrive()
				case n < 20:
					w.finish()
				case n < 25:
					w.begin()
				case n == 25:
					w.leave()
				case n == 26:
					w.check()
				case n == 27 && w.rand.IntN(4) == 0:
					w.resize()
				case n == 28 && hears:
					w.hear()
				case n == 29 && w.rand.IntN(4) == 0:
					w.divide()
				}
				w.calm()
				if !w.agree(step) {
					return
				}
				time.Sleep(time.Duration(w.rand.ExpFloat64() * float64(500*time.Millisecond)))
				synctest.Wait()
				w.calm()
				if !w.agree(step) {
					return
				}
			}
		})
	})
}
