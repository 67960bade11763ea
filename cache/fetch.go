package cache

import (
	"context"
	"time"
)

// Policy says what a call wants of the cache. The empty Policy is Auto.
type Policy string

// The policies.
const (
	Auto    Policy = "auto"    // a cached answer, or one in flight, will do
	Refresh Policy = "refresh" // a new answer, which replaces the cached one
	Off     Policy = "off"     // an answer of the call's own, which is not cached
)

// Source says where an answer came from.
type Source string

// The sources.
const (
	Miss      Source = "miss"      // the call's own fill
	Hit       Source = "hit"       // the cache
	Coalesced Source = "coalesced" // the fill of another call, which was in flight
	SharedHit Source = "shared"    // another process, which had made it or was about to
)

// Fill makes an answer, and says whether it may be kept: whole answers may, errors
// never. Flights.Do describes its context.
type Fill func(context.Context, Waiters) (e Entry, keep bool, err error)

// Lookup is one look-up of an answer.
type Lookup struct {
	Key    Key
	Policy Policy
	// Variant tells apart calls that may use the same cached answer but must not share
	// one in flight, such as calls of different priority. It must be comparable.
	Variant any
	// Alone gives the call an answer of its own unless one is cached already: it joins no
	// fill in flight, and none joins its fill. The answer is cached like any other.
	Alone bool
	// Replaces keeps an answer here only in place of an older one under its key: for calls that
	// keep theirs themselves, many of which would push out those of others.
	Replaces bool
	// Deadline ends the wait for an answer that is not cached; the zero Time leaves
	// that to the context. A hit is cheaper than the timer that this saves it.
	Deadline time.Time
}

// request tells fills in flight apart.
type request struct {
	key     Key
	loner   uint64 // tells the calls apart that share a fill with nobody; 0 for all others
	variant any
}

// found is the result of a flight.
type found struct {
	Entry
	from Source // Miss, Hit or SharedHit
}

// Fetch returns the cached answer for a key, or that of a fill: the call's own, or one
// in flight for the same key, whichever was first. Flights.Do says how fills are shared
// and ended, and how calls follow their progress. With an error, the entry is the one that
// the fill returned with it. Under the policy Off fill runs alone, on this goroutine and
// with the call's own context.
func (c *Cache[P]) Fetch(ctx context.Context, l Lookup, progress P, onJoin func(P), fill Fill) (Entry, Source, error) {
	finished := c.flights.finished.Load()
	if l.Policy != Refresh && l.Policy != Off {
		if e, ok := c.kept.get(l.Key); ok {
			c.count(Hit, e)
			return e, Hit, nil
		}
	}
	if l.Policy == Off {
		if !l.Deadline.IsZero() {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, l.Deadline)
			defer cancel()
		}
		deadline, _ := ctx.Deadline()
		e, _, err := fill.timed(ctx, alone(deadline))
		return e, Miss, err
	}
	var loner uint64
	if l.Alone || l.Policy == Refresh { // a new answer is not one that was begun before the call
		loner = c.loners.Add(1)
	}
	got, joined, err := c.flights.doBy(ctx, l.Deadline, request{l.Key, loner, l.Variant}, progress, onJoin, func(ctx context.Context, all Waiters) (found, error) {
		if l.Policy != Refresh && c.flights.finished.Load() != finished {
			// A fill that ended since the look-up above may have cached this answer.
			if e, ok := c.kept.getAgain(l.Key); ok {
				return found{e, Hit}, nil
			}
		}
		return c.make(ctx, l, all, fill)
	})
	source := Miss
	switch {
	case got.from == Hit || got.from == SharedHit:
		source = got.from
	case joined:
		source = Coalesced
	}
	if err != nil {
		c.count(source, Entry{}) // nothing was saved
	} else {
		c.count(source, got.Entry)
	}
	return got.Entry, source, err
}

// make makes the answer for a flight: another process's, or that of a fill, which is then kept
// and shared.
func (c *Cache[P]) make(ctx context.Context, l Lookup, all Waiters, fill Fill) (got found, err error) {
	how := Failed
	if c.second.is() && l.Policy != Refresh {
		e, ok, leave := c.second.join(ctx, l, all)
		defer func() { leave(how) }()
		if ok {
			c.keep(l, e)
			how = Stored
			return found{e, SharedHit}, nil
		}
	}
	e, keep, err := fill.timed(ctx, all)
	switch {
	case err != nil:
	case keep:
		c.keep(l, e)
		how = c.second.set(l.Key, e)
	default:
		how = NotShared
	}
	return found{e, Miss}, err
}

// keep keeps the answer to a look-up in memory.
func (c *Cache[P]) keep(l Lookup, e Entry) {
	if !l.Replaces || c.kept.has(l.Key) {
		c.kept.set(l.Key, e)
	}
}

// timed runs the fill, and notes when it ended and how long it took.
func (fill Fill) timed(ctx context.Context, all Waiters) (Entry, bool, error) {
	began := time.Now()
	e, keep, err := fill(ctx, all)
	now := time.Now()
	e.Stored, e.began = wall(now), began
	if e.Took == 0 {
		e.Took = now.Sub(began)
	}
	return e, keep, err
}
