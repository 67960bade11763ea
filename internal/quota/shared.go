package quota

import (
	"context"
	"time"

	"ollama-mcp/internal/caller"
)

// Shared counts what a caller uses on all replicas of this program together. Its methods return
// within a short time.
type Shared interface {
	// Take says how many calls of a caller are in flight here, and asks for more, in turn. It is
	// not ok if that cannot be told now.
	Take(id string, l caller.Limits, inFlight int, wants []Want) (grants []Grant, ok bool)
	// Replicas is how many replicas there are, this one included, or were when that could last
	// be told. It is at least 1.
	Replicas() int
}

// Want is a call that would begin.
type Want struct {
	Spare    int  // what has to be left of each limit then, where it allows any
	InFlight bool // counts as in flight, and not only as one of those that begin in a second
}

// Grant says whether a call may begin.
type Grant struct {
	OK   bool
	Wait time.Duration // until the rate allows it; 0 if too many calls are in flight
}

// renewInterval is how often the replicas are told that calls are still in flight.
const renewInterval = time.Second

// asking is a call that would begin, or, without a want, one that has ended.
type asking struct {
	want *Want
	err  error // is set if it may not begin
}

// Run tells the other replicas what is in flight here until ctx ends. They forget otherwise, so
// that what was in flight on a replica that died does not count for ever.
func (q *Quota) Run(ctx context.Context) {
	if q.Shared == nil {
		return
	}
	ticker := time.NewTicker(renewInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			for _, a := range q.active() {
				q.tell(a)
			}
		case <-ctx.Done():
			return
		}
	}
}

// active returns the accounts with calls in flight that count.
func (q *Quota) active() (all []*account) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, a := range q.accounts {
		if a.inFlight > 0 && a.limits.InFlight > 0 {
			all = append(all, a)
		}
	}
	return all
}

// askShared counts a call if all replicas together have room for it.
func (q *Quota) askShared(c caller.Caller, w Want) (*account, error) {
	q.mu.Lock()
	a := q.account(c)
	a.asking++ // and so it is not forgotten meanwhile
	q.mu.Unlock()
	own := &asking{want: &w}
	a.turns.Do(own, func(all []*asking) { q.ask(a, all) })
	q.mu.Lock()
	defer q.mu.Unlock()
	a.asking--
	return a, own.err
}

// tell tells the replicas how many calls of an account are in flight here now.
func (q *Quota) tell(a *account) {
	a.turns.Do(new(asking), func(all []*asking) { q.ask(a, all) })
}

// ask asks for all calls of an account that would begin now.
func (q *Quota) ask(a *account, all []*asking) {
	var wanted []*asking
	var wants []Want
	for _, x := range all {
		if x.want != nil {
			wanted, wants = append(wanted, x), append(wants, *x.want)
		}
	}
	q.mu.Lock()
	limits, inFlight := a.limits, a.inFlight
	q.mu.Unlock()
	grants, ok := q.Shared.Take(a.id, limits, inFlight, wants)
	q.mu.Lock()
	defer q.mu.Unlock()
	a.divide(q.Shared.Replicas())
	for i, x := range wanted {
		switch {
		case !ok:
			x.err = a.take(*x.want)
			continue
		case !grants[i].OK:
			x.err = a.exceeded(a.limits, grants[i].Wait)
			continue
		case a.rate != nil:
			a.rate.AllowN(time.Now(), 1) // so that its share is known, should this replica be left to itself
		}
		if x.want.InFlight {
			a.inFlight++
		}
	}
}
