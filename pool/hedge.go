package pool

import (
	"context"
	"fmt"
	"time"

	"ollama-mcp/internal/fairqueue"
	"ollama-mcp/internal/route"
)

// The attempt that was not the first to answer ends with one of these errors.
var (
	errHedgeWon = fmt.Errorf("%w: another host, asked later, has answered", ErrTooSlow)
	errFirstWon = fmt.Errorf("%w: the first host has answered after all", ErrTooSlow)
)

// hedge is a second attempt beside a first that is late.
type hedge struct {
	pool    *Pool
	first   *Lease
	onGrant func(route.Grant) // see route.Need

	ended chan struct{} // closed when the second attempt has ended, or will not begin
	// The fields below are set before that.
	lease    *Lease // nil if the first was not late, or no host was available
	err      error
	panicked any
}

// tryBoth makes an attempt and, if its host has not begun to answer after a time, a second one on
// another host. The first answer ends the other attempt. It returns the failures of both; nil if
// one of them was answered.
func (p *Pool) tryBoth(ctx context.Context, need route.Need, first *Lease, use func(context.Context, *Lease) error) (failed []Failure) {
	ctx, cancel := context.WithCancelCause(ctx)
	second := &hedge{pool: p, first: first, onGrant: need.OnGrant, ended: make(chan struct{})}
	timer := time.AfterFunc(need.HedgeAfter, func() { second.run(ctx, cancel, use) })
	err := errPanicked // unless use returns
	defer func() {
		if err == nil || err == errPanicked {
			cancel(errFirstWon)
		}
		if !timer.Stop() {
			<-second.ended
		}
		cancel(nil)
		if second.panicked != nil {
			panic(second.panicked) // here, where that of the first try would be seen
		}
		if context.Cause(ctx) == errHedgeWon {
			p.countHedgeWon()
		}
		failed = second.outcome(err)
	}()
	err = p.lend(ctx, first, use)
	return nil // failed is set above, when the second attempt has ended too
}

// run makes the second attempt if a host is available.
func (s *hedge) run(ctx context.Context, cancel context.CancelCauseFunc, use func(context.Context, *Lease) error) {
	defer close(s.ended)
	if s.lease = s.pool.grantHedge(ctx, s.first); s.lease == nil {
		return
	}
	s.err = errPanicked // unless use returns
	if s.onGrant != nil {
		s.onGrant(route.Grant{Host: s.lease.measured.Name(), Attempt: s.lease.Attempt, Hedge: true, Choice: s.lease.choice})
	}
	defer func() {
		if s.panicked = recover(); s.panicked != nil {
			cancel(errPanicked)
		}
	}()
	if s.err = s.pool.lend(ctx, s.lease, use); s.err == nil {
		cancel(errHedgeWon)
	}
}

// outcome returns the failures of both attempts, of which the first failed with err; nil if one
// succeeded. A failure that no other host could avoid comes last, since the last one decides
// whether the request is retried.
func (s *hedge) outcome(err error) []Failure {
	switch {
	case err == nil || s.lease != nil && s.err == nil:
		return nil
	case s.lease == nil:
		return []Failure{s.first.failure(err)}
	case isRetryable(err):
		return []Failure{s.first.failure(err), s.lease.failure(s.err)}
	}
	return []Failure{s.lease.failure(s.err), s.first.failure(err)}
}

func (p *Pool) countHedgeWon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totals.HedgesWon++
}

// grantHedge lends a host for a hedge: one that is well, has the model in memory, and has a free
// slot. It returns nil if the first attempt has begun to answer or has ended, if calls are queued,
// or if the retry budget is spent, since hedges are extra load just as retries are.
func (p *Pool) grantHedge(ctx context.Context, first *Lease) *Lease {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if ctx.Err() != nil || first.over || first.seen.pieces || first.Cloud || p.queue.Len() > 0 {
		return nil
	}
	h := p.takeFastest(first, now)
	if h == nil {
		return nil
	}
	if !p.budget.Take(now) {
		p.untake(h)
		return nil
	}
	l := &Lease{
		Attempt: first.Attempt, Failed: first.Failed, Hedge: true, Runner: first.Runner, Overridden: first.Overridden,
		onFirst: first.onFirst, prefixes: first.prefixes,
		ticket: ticket{Key: first.ticket.Key, Class: first.ticket.Class, Caller: first.ticket.Caller, Size: first.ticket.Size},
	}
	p.grant(l, h, route.Choice{}, now)
	p.totals.Hedged++
	return l
}

// takeFastest takes a slot of the available host that should answer first, other than the host of
// a lease. It returns nil if no host could answer without loading the model.
func (p *Pool) takeFastest(l *Lease, now time.Time) (best *host) {
	k := l.ticket.Key
	if !p.takeOfAll() {
		return nil
	}
	for _, h := range p.hosts {
		slot := freeSlot{pool: p, host: h, waiting: 1, now: now}
		isFit := h != l.host && !h.isCloudPart && !h.isAllCloud && h.conditionFor(k, now) == well && !h.doubtfulFor(k.model.model, now) && slot.Fit(k) == fairqueue.Warm
		if !isFit || best != nil && h.latencyFor(k.model.model, now) >= best.latencyFor(k.model.model, now) || !h.permits.TryAcquire(1) {
			continue
		}
		if best != nil {
			best.permits.Release(1)
		}
		best = h
	}
	if best == nil {
		p.untakeOfAll()
	}
	return best
}
