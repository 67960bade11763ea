package cache

import (
	"context"
	"time"
)

// Policy says what a call wants of the cache. The empty Policy is Auto.
type Policy string

// The policies.
const (
	Auto    Policy = "auto"    // an answer that is kept or in the making will do
	Refresh Policy = "refresh" // a new answer, to be kept in place of the old
	Off     Policy = "off"     // an answer of its own, not kept
)

// Source says where an answer came from.
type Source string

// The sources.
const (
	Miss      Source = "miss"      // from the call's own fill
	Hit       Source = "hit"       // from the cache
	Coalesced Source = "coalesced" // from a fill that another call had begun
)

// Fill makes an answer, and says whether it may be kept: whole answers may, never
// errors. It may report its progress at any time while it runs. Its context is the
// one that Flights.Do describes: without values, so that a fill brings along what
// it needs to know of its caller.
type Fill[P any] func(ctx context.Context, report func(P)) (e Entry, keep bool, err error)

// question tells fills in flight apart: whoever wants a new answer is not served by
// a fill that may find an old one.
type question struct {
	key     Key
	refresh bool
}

// found is what a flight comes back with.
type found struct {
	Entry
	hit bool
}

// Fetch returns the answer kept under a key, or else that of a fill: its own or one
// for the same key in flight, whichever was first. Flights.Do says how fills are
// shared, ended and reported on. With an error, the entry is what the fill returned
// with it. Under the policy Off fill runs alone, here and with ctx.
func (c *Cache[P]) Fetch(ctx context.Context, key Key, policy Policy, onProgress func(P), fill Fill[P]) (Entry, Source, error) {
	if policy == Off {
		if onProgress == nil {
			onProgress = func(P) {}
		}
		e, _, err := fill.timed(ctx, onProgress)
		return e, Miss, err
	}
	if policy != Refresh {
		if e, ok := c.kept.get(key); ok {
			c.count(Hit, e)
			return e, Hit, nil
		}
	}
	got, joined, err := c.flights.Do(ctx, question{key, policy == Refresh}, onProgress, func(ctx context.Context, report func(P)) (found, error) {
		if policy != Refresh {
			// Whoever missed just before a fill ended finds here what it has kept.
			if e, ok := c.kept.get(key); ok {
				return found{e, true}, nil
			}
		}
		e, keep, err := fill.timed(ctx, report)
		if keep && err == nil {
			c.kept.set(key, e)
		}
		return found{e, false}, err
	})
	source := Miss
	switch {
	case got.hit:
		source = Hit
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

// timed fills, and notes when that was and how long it took.
func (fill Fill[P]) timed(ctx context.Context, report func(P)) (Entry, bool, error) {
	began := time.Now()
	e, keep, err := fill(ctx, report)
	e.Stored = time.Now()
	if e.Took == 0 {
		e.Took = e.Stored.Sub(began)
	}
	return e, keep, err
}
