package pool

import (
	"context"
	"errors"
	"slices"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/retry"
	"ollama-mcp/internal/route"
)

// longestPause limits how long a call waits for a host that asks to be left alone, as a provider
// does whose daily budget is spent. The caller may have a better use for a longer time.
const longestPause = time.Minute

// maxPause returns how long a call waits for a host that asks to be left alone.
func maxPause(need route.Need) time.Duration {
	if need.MaxPause > 0 {
		return min(need.MaxPause, longestPause)
	}
	return longestPause
}

// errPanicked is the error of a lease whose function panicked.
var errPanicked = errors.New("the borrower panicked")

// With waits for a slot of a host that meets the need, calls use with a lease of the host, and frees
// the slot when use returns. If use fails because of the host, With retries, on another host if
// possible, so use may be called several times, one after another. The slot is freed before the
// pause between attempts.
//
// If the need allows for hedges, use may also run twice at once: the second time in a
// goroutine of its own, for another host, with Lease.Hedge set. The first to return nil
// wins, and the context of the other ends with a cause that is ErrTooSlow. With returns
// when both have returned.
//
// With returns the last error of use, or a *NoHostError if several hosts failed and one of them is
// unreachable. The error of a request under which models have crashed twice is also ErrCrashes.
// Without calling use, With returns *FullError if the queue is full; *QueueTimeoutError if the
// deadline has passed during the wait, or would; ctx's error if it was cancelled; a *backend.Error
// of class ModelMissing if no host has the model, or NoRoom if no host that has it has room for it;
// and *NoHostError if there is no host.
func (p *Pool) With(ctx context.Context, need route.Need, use func(context.Context, *Lease) error) (err error) {
	var failed []Failure
	lent := false
	err = errPanicked // unless use returns
	defer func() { p.ended(ctx, lent, err) }()
	for {
		l, err := p.acquire(ctx, need, failed)
		if err != nil {
			return p.noLease(ctx, failed, err)
		}
		lent = true
		lost := p.try(ctx, need, l, use)
		if lost == nil {
			return nil
		}
		failed = append(failed[:len(failed):len(failed)], lost...)
		if need.OneCrash && crashes(failed) > 0 {
			return summarize(failed)
		}
		pause, ok := p.again(ctx, l, failed)
		if !ok {
			return summarize(failed)
		}
		if need.OnRetry != nil {
			last := lost[len(lost)-1]
			need.OnRetry(route.Retry{Host: last.Host, Attempt: l.Attempt, Err: last.Err, In: pause})
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return p.noLease(ctx, failed, gaveUp(ctx, 0))
		}
	}
}

// noLease returns the error of With if there is no slot for the next attempt. The failures of
// earlier attempts say more than the reason for that, unless the caller left.
func (p *Pool) noLease(ctx context.Context, failed []Failure, err error) error {
	if len(failed) == 0 || ctx.Err() != nil && !timedOut(ctx) || cannotServe(err) {
		return err
	}
	return summarize(failed)
}

// try makes one attempt, and a hedge beside it if the need allows for one and the first is late. It
// returns their failures; nil if one succeeded.
func (p *Pool) try(ctx context.Context, need route.Need, l *Lease, use func(context.Context, *Lease) error) []Failure {
	if need.HedgeAfter > 0 {
		return p.tryBoth(ctx, need, l, use)
	}
	if err := p.lend(ctx, l, use); err != nil {
		return []Failure{l.failure(err)}
	}
	return nil
}

func (l *Lease) failure(err error) Failure {
	return Failure{Host: l.measured.Name(), Err: err, crashed: l.seen.crashed}
}

// lend calls use, and frees the slot afterwards.
func (p *Pool) lend(ctx context.Context, l *Lease, use func(context.Context, *Lease) error) (err error) {
	err = errPanicked // unless use returns
	defer func() { p.giveBack(ctx, l, err) }()
	return use(ctx, l)
}

// again decides whether a request that failed is retried, and after what pause.
func (p *Pool) again(ctx context.Context, l *Lease, failed []Failure) (pause time.Duration, ok bool) {
	if ctx.Err() != nil {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	k, last, now := l.ticket.Key, failed[len(failed)-1].Err, time.Now()
	k.tried = names(nil, failed)
	left, well := p.others(k, now)
	if cannotServe(last) {
		// While the others are not well, the same host may get the request again, but not endlessly.
		return 0, left && len(failed) <= len(p.hosts)
	}
	if !isRetryable(last) || len(failed) > p.retries(l, failed) || crashes(failed) >= mostCrashes || isPersistent(failed) {
		return 0, false
	}
	took := p.expected(k.model)
	if pause = p.backoff(len(failed), last, well, took); pause > longestPause || !well && retryAfter(last) > l.maxPause {
		return 0, false
	}
	if l.deadline.before(now.Add(pause + took)) {
		return 0, false
	}
	// A host or a model that dies fails all its calls at once, which would exceed any budget. One
	// retry each on a host that is well is harmless, since its slots bound the load. So is a
	// retry after a crash, which has emptied the slots.
	free := well && len(failed) == 1 || errors.Is(last, backend.Crashed)
	if !free && !p.budget.Take(now) {
		return 0, false
	}
	p.totals.Retried++
	return pause, true
}

// retries returns how often a request may be retried that has failed in these ways. One that was only
// refused for load has cost its hosts no work. Unless its caller has a better use for the time, it is
// retried twice as often, which takes some seconds, since the pauses double: where a host refuses one
// request in ten at random, one request in ten million fails. The budget bounds these retries too.
func (p *Pool) retries(l *Lease, failed []Failure) int {
	wasServed := func(f Failure) bool { return !errors.Is(f.Err, backend.Overload) }
	if l.maxPause < longestPause || slices.ContainsFunc(failed, wasServed) {
		return p.opts.Retries
	}
	return 2 * p.opts.Retries
}

// others reports whether there are hosts that can serve a group and have not failed, and whether
// one of them is well.
func (p *Pool) others(k groupKey, now time.Time) (left, well bool) {
	for _, h := range p.hosts {
		if h.could(k, now) && !h.wasTried(k) {
			left, well = true, well || h.wellFor(k.model.model, now)
		}
	}
	return left, well
}

// backoff returns the pause before a retry. It spares the host that failed, and is 0 if another
// host is well. A host that refuses requests because it is full has room as soon as one of its calls
// ends, so at first the pause is no longer than took, which a call takes; 0 if that is not known.
func (p *Pool) backoff(attempt int, err error, others bool, took time.Duration) time.Duration {
	if others {
		return 0
	}
	pause := retry.Backoff(attempt, retryAfter(err), p.random)
	if attempt == 1 && took > 0 && errors.Is(err, backend.Overload) && retryAfter(err) == 0 {
		pause = min(pause, time.Duration(p.random.Int64N(int64(took)+1)))
	}
	return pause
}

// retryAfter returns how long a failed host has asked to be left alone; 0 if it has not.
func retryAfter(err error) time.Duration {
	if failed, ok := errors.AsType[*backend.Error](err); ok {
		return failed.RetryAfter
	}
	return 0
}

// names joins the names of hosts, and of those that have failed, as in groupKey.
func names(some []string, failed []Failure) string {
	all := ""
	for _, name := range some {
		all += name + "\x00"
	}
	for _, f := range failed {
		all += f.Host + "\x00"
	}
	return all
}
