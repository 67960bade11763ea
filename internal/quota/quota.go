// Package quota enforces the limits of callers.
//
// It promises that no caller begins calls faster, or has more of them in flight, than their
// limits allow, and that idle accounts (no call in flight, full bucket) are evicted. The
// limits come with the caller.Caller of each call.
package quota

import (
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
)

// Exceeded is the error for a call beyond its caller's limits.
type Exceeded struct {
	Limit      string        // that was exceeded, in words: "5 calls in flight"
	RetryAfter time.Duration // when the call may be allowed
}

func (e *Exceeded) Error() string { return "over your limit of " + e.Limit }

// Quota counts what callers use. The zero value is ready.
type Quota struct {
	mu       sync.Mutex
	accounts map[string]*account // by the caller's ID
	sweepAt  int                 // number of accounts at which idle ones are evicted
}

type account struct {
	limits   caller.Limits
	rate     *rate.Limiter // nil without a limit
	inFlight int
}

// Begin counts a call. It returns *Exceeded if its caller may not begin it now;
// otherwise end must be called, once, when the call is over.
func (q *Quota) Begin(c caller.Caller) (end func(), err error) {
	if c.Limits.PerSecond <= 0 && c.Limits.InFlight <= 0 {
		return func() {}, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.account(c)
	if err := a.take(0); err != nil {
		return nil, err
	}
	a.inFlight++
	return func() { q.end(a) }, nil
}

// BeginPart is Begin for one of many requests that a call makes, beside which so many others of
// the same call are in flight. The first of them takes the place in flight that the call has.
// The parts leave room in their caller's limits for one other call, if there is any.
func (q *Quota) BeginPart(c caller.Caller, others int) (end func(), err error) {
	if c.Limits.PerSecond <= 0 && c.Limits.InFlight <= 0 {
		return func() {}, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.account(c)
	if others == 0 {
		return func() {}, a.takeRate(1)
	}
	if err := a.take(1); err != nil {
		return nil, err
	}
	a.inFlight++
	return func() { q.end(a) }, nil
}

func (q *Quota) end(a *account) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a.inFlight--
}

// take takes what a call needs if more than spare is left then, where the limit allows any.
func (a *account) take(spare int) error {
	if most := a.limits.InFlight; most > 0 && a.inFlight+spare >= most {
		return &Exceeded{fault.Count(most, "call") + " in flight", time.Second}
	}
	return a.takeRate(spare)
}

// takeRate is take for the rate alone.
func (a *account) takeRate(spare int) error {
	if a.rate == nil {
		return nil
	}
	now, n := time.Now(), min(1+spare, a.rate.Burst())
	if r := a.rate.ReserveN(now, n); r.DelayFrom(now) > 0 {
		wait := r.DelayFrom(now)
		r.CancelAt(now)
		return &Exceeded{fmt.Sprintf("%g calls per second", a.limits.PerSecond), wait}
	} else if n > 1 {
		r.CancelAt(now) // all of it was there: one is for this call, and the others stay
		a.rate.AllowN(now, 1)
	}
	return nil
}

// account finds what a caller has used, by the limits that hold now.
func (q *Quota) account(c caller.Caller) *account {
	a, ok := q.accounts[c.ID]
	if !ok {
		q.sweep()
		a = new(account)
		q.accounts[c.ID] = a
	}
	if a.limits != c.Limits {
		a.limits, a.rate = c.Limits, limiter(c.Limits)
	}
	return a
}

// sweep evicts idle accounts, each time that the number of accounts has doubled.
func (q *Quota) sweep() {
	if q.accounts == nil {
		q.accounts = make(map[string]*account)
	}
	if len(q.accounts) < q.sweepAt {
		return
	}
	for id, a := range q.accounts {
		if a.inFlight == 0 && (a.rate == nil || a.rate.Tokens() >= float64(a.rate.Burst())) {
			delete(q.accounts, id)
		}
	}
	q.sweepAt = max(1024, 2*len(q.accounts))
}

func limiter(l caller.Limits) *rate.Limiter {
	if l.PerSecond <= 0 {
		return nil
	}
	burst := l.Burst
	if burst <= 0 {
		burst = int(math.Ceil(l.PerSecond))
	}
	return rate.NewLimiter(rate.Limit(l.PerSecond), burst)
}
