// Package quota enforces the limits of callers.
//
// It promises that no caller begins calls faster, or has more of them in flight, than their
// limits allow, on all replicas that share what is counted, and that idle accounts (no call in
// flight, full bucket) are evicted. While a replica cannot ask the others, it enforces its share
// of each limit. The limits come with the caller.Caller of each call.
package quota

import (
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/combine"
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
	// Shared counts for all replicas; nil if there is only this one. It may be set before the
	// first call.
	Shared Shared

	mu       sync.Mutex          // guards what follows; nothing is shared under it
	accounts map[string]*account // by the caller's ID
	sweepAt  int                 // number of accounts at which idle ones are evicted
}

type account struct {
	id       string
	limits   caller.Limits
	replicas int           // that share the limits, this one included
	rate     *rate.Limiter // by that share; nil without a limit
	inFlight int
	asking   int // calls that ask the other replicas now

	turns combine.Group[*asking]
}

// Begin counts a call. It returns *Exceeded if its caller may not begin it now;
// otherwise end must be called, once, when the call is over.
func (q *Quota) Begin(c caller.Caller) (end func(), err error) {
	return q.begin(c, Want{InFlight: true})
}

// BeginPart is Begin for one of many requests that a call makes, beside which so many others of
// the same call are in flight. The first of them takes the place in flight that the call has.
// The parts leave room in their caller's limits for one other call, if there is any.
func (q *Quota) BeginPart(c caller.Caller, others int) (end func(), err error) {
	return q.begin(c, Want{Spare: 1, InFlight: others > 0})
}

func (q *Quota) begin(c caller.Caller, w Want) (end func(), err error) {
	if c.Limits.PerSecond <= 0 && c.Limits.InFlight <= 0 {
		return func() {}, nil
	}
	a, err := q.count(c, w)
	switch {
	case err != nil:
		return nil, err
	case !w.InFlight:
		return func() {}, nil
	}
	return func() { q.end(a) }, nil
}

// count counts a call in its caller's account, here or on all replicas.
func (q *Quota) count(c caller.Caller, w Want) (*account, error) {
	if q.Shared != nil {
		return q.askShared(c, w)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.account(c)
	return a, a.take(w)
}

func (q *Quota) end(a *account) {
	q.mu.Lock()
	a.inFlight--
	tell := q.Shared != nil && a.limits.InFlight > 0
	q.mu.Unlock()
	if tell { // before the caller has the answer, and may call another replica
		q.tell(a)
	}
}

// take takes what a call needs of this replica's share, if as much as it spares is left then,
// where the limit allows any. The mutex of the Quota is held.
func (a *account) take(w Want) error {
	l := shareOf(a.limits, a.replicas)
	if w.InFlight && l.InFlight > 0 && a.inFlight+w.Spare >= l.InFlight {
		return a.exceeded(l, 0)
	}
	if a.rate != nil {
		now, n := time.Now(), min(1+w.Spare, a.rate.Burst())
		if r := a.rate.ReserveN(now, n); r.DelayFrom(now) > 0 {
			wait := r.DelayFrom(now)
			r.CancelAt(now)
			return a.exceeded(l, wait)
		} else if n > 1 {
			r.CancelAt(now) // all of it was there: one is for this call, and the others stay
			a.rate.AllowN(now, 1)
		}
	}
	if w.InFlight {
		a.inFlight++
	}
	return nil
}

// exceeded is the error of a call that would exceed limits, which are those of the account or
// this replica's share of them: its rate, which allows the call after a while, or for 0 the calls
// in flight.
func (a *account) exceeded(l caller.Limits, wait time.Duration) *Exceeded {
	e := &Exceeded{fmt.Sprintf("%g calls per second", math.Round(l.PerSecond*1e4)/1e4), wait}
	if wait == 0 {
		e = &Exceeded{fault.Count(l.InFlight, "call") + " in flight", time.Second}
	}
	if l != a.limits {
		e.Limit += fmt.Sprintf(" on this server, its share while it cannot reach the %d others", a.replicas-1)
	}
	return e
}

// shareOf is what each of some replicas enforces while it cannot ask the others: its part, but no
// less than one call, or callers with a small limit would have none at all.
func shareOf(l caller.Limits, replicas int) caller.Limits {
	if replicas <= 1 {
		return l
	}
	if l.PerSecond > 0 {
		l.Burst = max(1, l.CallsAtOnce()/replicas)
		l.PerSecond /= float64(replicas)
	}
	if l.InFlight > 0 {
		l.InFlight = max(1, l.InFlight/replicas)
	}
	return l
}

// divide has an account go by the share that one of so many replicas has.
func (a *account) divide(replicas int) {
	if a.replicas == replicas {
		return
	}
	a.replicas = replicas
	if a.rate != nil {
		l := shareOf(a.limits, replicas)
		a.rate.SetLimit(rate.Limit(l.PerSecond))
		a.rate.SetBurst(l.CallsAtOnce())
	}
}

// account finds what a caller has used, by the limits that hold now. The mutex is held.
func (q *Quota) account(c caller.Caller) *account {
	a, ok := q.accounts[c.ID]
	if !ok {
		q.sweep()
		a = &account{id: c.ID}
		q.accounts[c.ID] = a
	}
	if a.limits != c.Limits {
		a.limits, a.rate, a.replicas = c.Limits, limiter(c.Limits), 1
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
		if a.inFlight == 0 && a.asking == 0 && (a.rate == nil || a.rate.Tokens() >= float64(a.rate.Burst())) {
			delete(q.accounts, id)
		}
	}
	q.sweepAt = max(1024, 2*len(q.accounts))
}

func limiter(l caller.Limits) *rate.Limiter {
	if l.PerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(l.PerSecond), l.CallsAtOnce())
}
