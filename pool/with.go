package pool

import (
	"context"
	"errors"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/retry"
	"ollama-mcp/internal/route"
)

// longestPause is how long a call is held for a host that asks to be left alone, as a
// provider does whose budget for the day is spent. Its caller may know better than to wait
// for longer.
const longestPause = time.Minute

// maxPause is how long a call waits for a host that asks to be left alone.
func maxPause(need route.Need) time.Duration {
	if need.MaxPause > 0 {
		return min(need.MaxPause, longestPause)
	}
	return longestPause
}

// errPanicked is how a lease ends whose borrower did not return.
var errPanicked = errors.New("the borrower panicked")

// With waits for a slot of a host that meets the need, lends the host to use, and
// takes it back when use returns. If that fails by the host's fault it tries again,
// elsewhere if it can, so use may be called several times, one after another. The
// slot is given back before the pause between tries.
//
// If the need allows for hedges, use may also run twice at once: the second time in a
// goroutine of its own, for another host, with Lease.Hedge set. The first to return nil
// wins, and the context of the other ends with a cause that is ErrTooSlow. With returns
// when both have returned.
//
// With returns what use returned last, or a *NoHostError if several hosts failed and one of
// them is not there. What models crash under is ErrCrashes too, and not tried a third time.
// Without having called use it returns *FullError if too many wait already;
// *QueueTimeoutError if the deadline passed during the wait, or would; ctx's error if it
// was cancelled; a *backend.Error of class ModelMissing if no host has the model, or NoRoom
// if none that has it has room for it; and *NoHostError if there is no host.
func (p *Pool) With(ctx context.Context, need route.Need, use func(context.Context, *Lease) error) (err error) {
	var failed []Failure
	ctx, stop := withDeadline(ctx, need.Deadline)
	defer stop()
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
		pause, ok := p.again(ctx, l, failed)
		if !ok {
			return sum(failed)
		}
		if need.OnRetry != nil {
			last := lost[len(lost)-1]
			need.OnRetry(route.Retry{Host: last.Host, Attempt: l.Attempt, Err: last.Err, In: pause})
		}
		if !sleep(ctx, pause) {
			return p.noLease(ctx, failed, gaveUp(ctx, 0))
		}
	}
}

// noLease is what With returns when there is no slot for the next try: the failure
// of the last says more than the reason for that, unless the caller left.
func (p *Pool) noLease(ctx context.Context, failed []Failure, err error) error {
	if len(failed) == 0 || ctx.Err() != nil && !timedOut(ctx) || isLack(err) {
		return err
	}
	return sum(failed)
}

// try has a host asked, and another beside it if the need allows for that and the first
// is late. It returns how they failed, nil if one answered.
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

// lend calls use, and takes the slot back.
func (p *Pool) lend(ctx context.Context, l *Lease, use func(context.Context, *Lease) error) (err error) {
	err = errPanicked // unless use returns
	defer func() { p.giveBack(ctx, l, err) }()
	return use(ctx, l)
}

// again says whether a request that failed is tried once more, and after what pause.
func (p *Pool) again(ctx context.Context, l *Lease, failed []Failure) (pause time.Duration, ok bool) {
	if ctx.Err() != nil {
		return 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	k, last, now := l.ticket.Key, failed[len(failed)-1].Err, time.Now()
	k.tried = names(nil, failed)
	left, well := p.others(k, now)
	if isLack(last) {
		// While the others are not well the same host may be asked again, but not for ever.
		return 0, left && len(failed) <= len(p.hosts)
	}
	if !hostsFault(last) || len(failed) > p.opts.Retries || crashes(failed) >= mostCrashes || isHopeless(failed) {
		return 0, false
	}
	if pause = p.backoff(len(failed), last, well); pause > longestPause || !well && retryAfter(last) > l.maxPause {
		return 0, false
	}
	if l.deadline.before(now.Add(pause + p.expected(k.model))) {
		return 0, false
	}
	// A host or a model that dies fails all its calls at once, more than any budget allows
	// for. One try each on a host that is well is no danger: its slots bound what comes to
	// it. Nor is another try where a model has crashed, which left the slots empty.
	free := well && len(failed) == 1 || errors.Is(last, backend.Crashed)
	if !free && !p.budget.Take(now) {
		return 0, false
	}
	p.totals.Retried++
	return pause, true
}

// others reports whether hosts are left that could serve a group and have not failed,
// and whether one of them is well.
func (p *Pool) others(k groupKey, now time.Time) (left, well bool) {
	for _, h := range p.hosts {
		if h.could(k, now) && !h.wasTried(k) {
			left, well = true, well || h.wellFor(k.model.model, now)
		}
	}
	return left, well
}

// backoff is the pause before a try. It is for the host that failed; where another
// is well there is none.
func (p *Pool) backoff(attempt int, err error, others bool) time.Duration {
	if others {
		return 0
	}
	return retry.Backoff(attempt, retryAfter(err), p.random)
}

// retryAfter is for how long a host that failed has asked to be left alone; 0 if it has not.
func retryAfter(err error) time.Duration {
	if failed, ok := errors.AsType[*backend.Error](err); ok {
		return failed.RetryAfter
	}
	return 0
}

// names are those of hosts, as in groupKey: some, and those that have failed.
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

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
