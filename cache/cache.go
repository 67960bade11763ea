// Package cache keeps answers that are worth keeping, and lets identical requests that
// are in flight at the same time share one answer.
//
// It promises that an answer serves only the request it was given to, in the scope it
// was given in; that it is found as soon as it is set, until it expires or others need
// its space; that the entries stay within the size given; and that a call which waits
// for a shared answer does not depend on the deadline, panic or departure of another.
// Which answers may be cached is left to the caller.
package cache

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Options describe a cache. The zero Options keep nothing.
type Options struct {
	// Size bounds the memory of all entries and their bookkeeping, in bytes; 0 keeps
	// nothing. One entry may take a tenth of it. Less than 64 KiB is refused.
	Size int64
	// TTL is how long an entry is served unless it has a TTL of its own; 0 keeps
	// nothing.
	TTL time.Duration
	// Shared is a second store, which other processes use too; nil for none. It needs a Codec.
	Shared Shared
	Codec  Codec
}

// Value is the cached part of an answer. All calls get the same one, so none may change
// it. A text or list in it should not be a slice of something larger, which would be
// kept in memory with it.
type Value interface {
	Size() int // in bytes
}

// Entry is an answer.
type Entry struct {
	Value  Value         // nil only where there is an error
	Took   time.Duration // what it took to get, and what a hit saves
	TTL    time.Duration // how long to keep it; 0 means Options.TTL, below 0 not at all
	Stored time.Time     // when it was made, by the wall clock; the cache sets it

	began time.Time // when its fill began; the zero Time if it came from none
}

// Cache keeps answers, and shares those in flight. P is the type through which
// fills report progress. Use New to make one. Its methods are safe for concurrent use.
type Cache[P any] struct {
	kept    store
	flights Flights[request, P, found]
	second  second
	loners  atomic.Uint64 // calls that shared no fill; see request.alone

	hits, misses, coalesced, shared atomic.Uint64
	saved                           atomic.Int64 // nanoseconds
}

// Stats are counters since the cache was made, and gauges where "now" is said. A
// look-up is a Get, or a Fetch with another policy than Off.
type Stats struct {
	Hits      uint64 // look-ups that found an entry
	Misses    uint64 // look-ups that did not, and refreshes
	Coalesced uint64 // look-ups that joined a fill in flight
	Shared    uint64 // look-ups that another process's answer was found for, or waited for

	Sets       uint64 // entries stored
	TooLarge   uint64 // entries refused because one may take only a tenth of the cache
	CrowdedOut uint64 // entries refused because those in their place are read more often
	Evicted    uint64 // entries removed to make room for others
	Expired    uint64 // entries removed for their age

	Entries  int64 // entries now; an expired one counts until it is removed, some seconds later
	Bytes    int64 // memory of the entries now
	InFlight int   // fills now

	Saved time.Duration // time that the answers of hits and of joined fills took to make
}

const smallest = 64 << 10

// spareFills is how many goroutines are kept for later fills: as many as are usually in flight
// on a busy server.
const spareFills = 64

// New makes a cache and starts the goroutines that maintain it, which end with Close.
// With Options that keep nothing it starts none, and only shares fills in flight.
func New[P any](o Options) (*Cache[P], error) {
	switch {
	case o.Size < 0 || o.TTL < 0:
		return nil, fmt.Errorf("cache: Size and TTL must not be negative, got %d and %v", o.Size, o.TTL)
	case o.Size > 0 && o.Size < smallest:
		return nil, fmt.Errorf("cache: Size: %d bytes are too few to keep anything; at least %d, or 0 to keep nothing", o.Size, smallest)
	}
	c := new(Cache[P])
	if o.Size == 0 || o.TTL == 0 {
		return c, nil
	}
	if err := c.kept.open(o); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	c.flights.keep(spareFills)
	if o.Shared != nil {
		c.second = second{o}
		o.Shared.OnClear(func(isOf func(model string) bool) {
			c.kept.remove(func(s Scope) bool { return isOf(s.Model) })
		})
	}
	return c, nil
}

// Get returns the entry stored under a key, and counts the look-up.
func (c *Cache[P]) Get(key Key) (Entry, bool) {
	e, ok := c.kept.get(key)
	if ok {
		c.count(Hit, e)
	} else {
		c.count(Miss, e)
	}
	return e, ok
}

// Peek is Get without the counting, for look-ups that are counted elsewhere.
func (c *Cache[P]) Peek(key Key) (Entry, bool) { return c.kept.get(key) }

// Find looks up an answer under another key than the call's own, in memory and then in the
// shared store. It counts what it finds: the Fetch that follows where there is none counts the miss.
func (c *Cache[P]) Find(ctx context.Context, key Key) (Entry, bool) {
	if e, ok := c.kept.get(key); ok {
		c.count(Hit, e)
		return e, true
	}
	if !c.second.is() {
		return Entry{}, false
	}
	e, ok := c.second.get(ctx, key)
	if ok {
		c.kept.set(key, e)
		c.count(SharedHit, e)
	}
	return e, ok
}

// Set stores an entry in place of the one under the key, and sets its Stored. A full
// cache refuses an entry when those that would have to make room are read more often.
// Then nothing is stored under the key.
func (c *Cache[P]) Set(key Key, e Entry) {
	e.Stored = wall(time.Now())
	c.kept.set(key, e)
}

// Delete removes all entries whose scope matches, and returns their number. match must
// not use the cache. Fills in flight are not affected.
func (c *Cache[P]) Delete(match func(Scope) bool) int { return c.kept.remove(match) }

// Clear removes all entries and the counts of how often they were read.
func (c *Cache[P]) Clear() { c.kept.clear() }

// Close cancels all fills in flight, whose waiters get ErrClosed, drops all entries and
// ends all goroutines. The cache stays empty afterwards. It may be called at any time
// and more than once, but not by a fill.
func (c *Cache[P]) Close() {
	c.flights.Close()
	c.kept.close()
}

// Stats returns the cache's counters and gauges.
func (c *Cache[P]) Stats() Stats {
	s := &c.kept
	return Stats{
		Hits: c.hits.Load(), Misses: c.misses.Load(), Coalesced: c.coalesced.Load(), Shared: c.shared.Load(),
		Sets: s.sets.Load(), TooLarge: s.tooLarge.Load(), CrowdedOut: s.crowdedOut.Load(),
		Evicted: s.evicted.Load(), Expired: s.outOfDate.Load(),
		Entries: s.entries.Load(), Bytes: s.bytes(), InFlight: c.flights.Len(),
		Saved: time.Duration(c.saved.Load()),
	}
}

// count counts a look-up that has ended.
func (c *Cache[P]) count(source Source, e Entry) {
	switch source {
	case Hit:
		c.hits.Add(1)
		c.saved.Add(int64(e.Took))
	case Coalesced:
		c.coalesced.Add(1)
		c.saved.Add(int64(e.Took))
	case SharedHit:
		c.shared.Add(1)
		c.saved.Add(int64(e.Took))
	default:
		c.misses.Add(1)
	}
}
