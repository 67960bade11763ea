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

// judge returns what the end of a lease says about its host, and about the model there. A host is
// to blame if it is unreachable or silent, and a model for all other failures. Failures that a
// request causes count against neither.
func (l *Lease) judge(ctx context.Context, err error, now time.Time) (v verdict) {
	v.model = l.judgeModel(ctx, err, now)
	switch {
	case errors.Is(err, backend.Transport):
		v.host = breaker.Failure
	case v.model == breaker.Slow: // which of the two hangs cannot be told
		v.host = breaker.Slow
	case v.model == breaker.Success || l.seen.pieces || isRecognized(err):
		v.host = breaker.Success
	}
	return v
}

// isRecognized reports whether an error shows that an Ollama server or a provider is running: a
// proxy, or some other server, would not have returned it.
func isRecognized(err error) bool {
	switch backend.ClassOf(err) {
	case backend.Crashed, backend.NoRoom, backend.Unloadable, backend.BadOutput, backend.TooLong, backend.ModelMissing, backend.Overload:
		return true
	}
	return false
}

func (l *Lease) judgeModel(ctx context.Context, err error, now time.Time) breaker.Outcome {
	if l.isPartOfCrash(err, now) {
		return breaker.Undecided // a crash counts once, however many calls it ends
	}
	switch backend.ClassOf(err) {
	case backend.Server, backend.Crashed, backend.Unloadable:
		if l.seen.pieces { // it works, but the answer broke off
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
	before, after, change := p.record(ctx, l, err)
	defer p.changed(change...)
	switch {
	case before.host == breaker.Closed && after.host == breaker.Open:
		p.opts.Log.Warn("host ejected", "host", l.measured.Name(), "error", err)
	case before.host != breaker.Closed && after.host == breaker.Closed:
		p.opts.Log.Info("host is well again", "host", l.measured.Name())
	case before.model == breaker.Closed && after.model == breaker.Open:
		p.opts.Log.Warn("model ejected from host", "host", l.measured.Name(), "model", l.key().model, "error", err)
		p.changed(Change{Host: l.measured.Name(), Model: l.key().model, Why: wordsOf(err)})
	case before.model != breaker.Closed && after.model == breaker.Closed:
		p.opts.Log.Info("model is well again", "host", l.measured.Name(), "model", l.key().model)
		p.changed(Change{Host: l.measured.Name(), Model: l.key().model, Well: true})
	}
}

// states are those of the circuit breakers of a host and of a model there.
type states struct{ host, model breaker.State }

// record does the work of giveBack under the lock, and returns the states before and after, and
// whether the host has changed.
func (p *Pool) record(ctx context.Context, l *Lease, err error) (before, after states, change []Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	before = l.states(now)
	trusted := l.host.trusted(now)
	p.settle(ctx, l, err, now)
	p.match()
	return before, l.states(now), l.host.changeOf(trusted, now)
}

// settle records what an attempt showed of the host, and frees the slot.
func (p *Pool) settle(ctx context.Context, l *Lease, err error, now time.Time) {
	h := l.host
	l.verdict = l.judge(ctx, err, now)
	switch {
	case l.verdict.isFailure():
		p.totals.TriesFailed++
		l.recordFailure(err, now)
	case l.verdict.model == breaker.Success:
		h.trouble, h.down, l.own.trouble, h.answered = nil, false, nil, now
		p.learnTime(l, now)
	case isRetryable(err): // a crash that was counted before, or bad output of the model
		p.totals.TriesFailed++
	}
	if l.verdict.model != breaker.Undecided && errors.Is(err, backend.Crashed) {
		p.noteCrash(l, err, now)
	}
	rests := l.startRest(err, now)
	if rests {
		p.refuseResting(now)
	}
	if rests || l.verdict.isFailure() {
		h.uneasy = true
		p.changes++
	}
	if errors.Is(err, backend.NoRoom) {
		h.noteNoRoom(l.key(), err, now)
		p.changes++
		p.refuseUnservable()
	}
	p.learnLimit(l, errors.Is(err, backend.Overload), now)
	p.release(l)
}

func (l *Lease) states(now time.Time) states {
	return states{l.host.breaker.State(now), l.own.breaker.State(now)}
}

// learnLimit updates the learned limit of concurrent calls from a lease.
func (p *Pool) learnLimit(l *Lease, overload bool, now time.Time) {
	h := l.host
	limit := l.own.limit
	if limit == nil || !l.seen.answered && !overload {
		return
	}
	inFlight := l.own.lent + h.elsewhere[l.key().model]
	limit.Observe(now, limiter.Sample{
		FirstToken: l.seen.firstToken + l.ownTime(now), PerToken: l.seen.perToken, Tokens: l.seen.tokens,
		Took: now.Sub(l.began) - l.seen.load, InFlight: inFlight, Overload: overload,
		Backlog: inFlight >= limit.Limit() && p.queue.HasKey(func(k groupKey) bool { return k.model.model == l.key().model && h.could(k, now) }),
	})
}

// ownTime returns how long an answered lease held its slot beyond the time that the host reports
// for its work. For short answers that is a large part, which more slots make up for.
func (l *Lease) ownTime(now time.Time) time.Duration {
	if l.seen.vectors {
		return 0
	}
	work := l.seen.load + l.seen.firstToken + time.Duration(l.seen.tokens)*l.seen.perToken
	return max(0, now.Sub(l.began)-work)
}

// recordFailure records a failure for which the host, or the model there, is to blame.
func (l *Lease) recordFailure(err error, now time.Time) {
	h, why := l.host, err
	if l.verdict.model == breaker.Slow {
		why = fmt.Errorf("no token in %v of waiting", max(now.Sub(l.began), l.own.silence.total).Round(time.Second))
	}
	switch l.verdict.host {
	case breaker.Failure, breaker.Slow:
		h.recordFailure(why, now)
	case breaker.Success:
		h.trouble = nil // it can be reached
	}
	if l.verdict.model != breaker.Undecided {
		l.own.recordFailure(why, now)
	}
	if l.verdict.host == breaker.Failure {
		clear(h.memory) // it may have been restarted
		clear(h.noRoom)
	}
}

// learnTime updates the expected times from an answered call.
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
		p.noteOn(l)
		if l.seen.load >= loadedAtOnce && !l.joins { // of a load that it joins a call sees a part
			common.load.observe(l.seen.load)
		}
	}
	typical := l.seen.firstToken + typicalTokens*l.seen.perToken
	if l.seen.firstToken == 0 {
		typical = held
	}
	h.latency.Observe(now, typical)
}
