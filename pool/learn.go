package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/breaker"
	"ollama-mcp/internal/limiter"
)

const (
	// typicalTokens turns the speed of a host into the latency of one answer, for the
	// policies: answers differ in length a hundredfold, hosts do not.
	typicalTokens = 100
)

// judge returns what the end of a lease says about its host.
func (l *Lease) judge(ctx context.Context, err error, now time.Time) breaker.Outcome {
	if l.isPartOfCrash(err, now) {
		return breaker.Undecided // however many it takes along, a crash counts once
	}
	switch backend.ClassOf(err) {
	case backend.Transport:
		return breaker.Failure
	case backend.Server, backend.Crashed:
		if l.seen.pieces { // it works, and was cut off
			return breaker.Soft
		}
		return breaker.Failure
	case backend.Overload:
		return breaker.Soft
	case backend.Caller, "":
		if err == nil || l.seen.answered {
			return breaker.Success
		}
		if l.hangs(ctx, now) {
			return breaker.Slow
		}
	}
	return breaker.Undecided
}

// giveBack ends a lease: it records what the attempt showed of the host, and frees the slot.
func (p *Pool) giveBack(ctx context.Context, l *Lease, err error) {
	before, after := p.record(ctx, l, err)
	switch {
	case before == breaker.Closed && after == breaker.Open:
		p.opts.Log.Warn("host ejected", "host", l.measured.Name(), "error", err)
	case before != breaker.Closed && after == breaker.Closed:
		p.opts.Log.Info("host is well again", "host", l.measured.Name())
	}
}

// record does so under the lock, and returns the state of the host's circuit breaker before
// and after.
func (p *Pool) record(ctx context.Context, l *Lease, err error) (before, after breaker.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, h := time.Now(), l.host
	before = h.breaker.State(now)
	l.outcome = l.judge(ctx, err, now)
	switch l.outcome {
	case breaker.Success:
		h.trouble, h.down = nil, false
		p.learnTime(l, now)
	case breaker.Failure, breaker.Slow, breaker.Soft:
		p.totals.TriesFailed++
		h.failed(l, err, now)
	case breaker.Undecided:
		if hostsFault(err) { // of a crash that has been counted
			p.totals.TriesFailed++
		}
	}
	if l.outcome != breaker.Undecided && errors.Is(err, backend.Crashed) {
		p.crashed(l, err, now)
	}
	if l.rests(err, now) {
		p.refuseResting(now)
	}
	if errors.Is(err, backend.NoRoom) {
		h.refuse(l.key(), err, now)
		p.refuseUnservable()
	}
	p.learnLimit(l, errors.Is(err, backend.Overload), now)
	p.release(l)
	return before, h.breaker.State(now)
}

// learnLimit takes in what a lease says about how many calls at once pay.
func (p *Pool) learnLimit(l *Lease, overload bool, now time.Time) {
	h := l.host
	limit := l.own.limit
	if limit == nil || !l.seen.answered && !overload {
		return
	}
	limit.Observe(now, limiter.Sample{
		FirstToken: l.seen.firstToken + l.ownTime(now), PerToken: l.seen.perToken, Tokens: l.seen.tokens,
		Took: now.Sub(l.began) - l.seen.load, InFlight: l.own.lent, Overload: overload,
		Backlog: l.own.lent >= limit.Limit() && p.queue.HasKey(func(k groupKey) bool { return k.model.model == l.key().model && h.could(k, now) }),
	})
}

// ownTime is how long an answered lease held its slot beside the host's work, by the host's
// account of that: with short answers that is much of it, and more slots make up for it.
func (l *Lease) ownTime(now time.Time) time.Duration {
	if l.seen.vectors {
		return 0
	}
	work := l.seen.load + l.seen.firstToken + time.Duration(l.seen.tokens)*l.seen.perToken
	return max(0, now.Sub(l.began)-work)
}

// failed takes in a failure that was the host's fault.
func (h *host) failed(l *Lease, err error, now time.Time) {
	h.trouble, h.failure = err, now
	if l.outcome == breaker.Slow {
		h.trouble = fmt.Errorf("no token in %v of waiting", max(now.Sub(l.began), l.own.silence.total).Round(time.Second))
	}
	h.latency.Fail(now)
	if l.outcome == breaker.Failure && errors.Is(err, backend.Transport) {
		clear(h.memory) // it may have been started anew
		clear(h.noRoom)
	}
}

// learnTime takes in how long an answered call took.
func (p *Pool) learnTime(l *Lease, now time.Time) {
	h, held := l.host, max(0, now.Sub(l.began)-l.seen.load)
	p.pace.observe(held + l.seen.load)
	h.took.observe(held)
	if h.lentOf(l.key().model) >= h.slotsOf(l.key().model, now) {
		h.full.observe(held / time.Duration(len(h.lent)))
	}
	if model := l.key().model; model != "" {
		l.own.held.observe(held)
		if l.seen.pieces {
			l.own.silence.observe(max(0, l.heard.Sub(l.began)-l.seen.load), l.ticket.Size)
		}
		l.own.tried = now
		common := p.timesOf(model)
		common.held.observe(held)
		if l.seen.load >= loadedAtOnce {
			common.load.observe(l.seen.load)
		}
	}
	typical := l.seen.firstToken + typicalTokens*l.seen.perToken
	if l.seen.firstToken == 0 {
		typical = held
	}
	h.latency.Observe(now, typical)
}
