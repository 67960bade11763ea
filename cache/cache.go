// Package cache keeps answers that are worth keeping, and lets identical
// questions that are asked at the same time share one answer.
//
// It promises that an answer serves only the request it was given to, in the
// scope it was given in; that it is found again as soon as it is set, until its
// time is over or others need its room; that the answers kept stay within the
// size given; and that nobody who waits for a shared answer hangs on another's
// deadline, panic or departure. Which answers may be kept is left to those who ask.
package cache

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Options describe a cache. The zero Options keep nothing.
type Options struct {
	// Size is how many bytes the entries may take, with what it takes to keep
	// them; 0 keeps nothing. One entry may take a tenth. Less than 64 KiB is
	// refused.
	Size int64
	// TTL is how long an entry serves that does not say so itself; 0 keeps
	// nothing.
	TTL time.Duration
}

// Value is what is kept of an answer. All who are given it are given the same one, so
// nobody may change it. A text or list in it should not be a piece of something larger,
// which would be kept too.
type Value interface {
	Size() int // bytes that it takes
}

// Entry is an answer.
type Entry struct {
	Value  Value         // nil only where there is an error
	Took   time.Duration // what it took to get, and what a hit saves
	TTL    time.Duration // how long to keep it; 0 means Options.TTL, less means not at all
	Stored time.Time     // when it was made; the cache sets it
}

// Cache keeps answers, and shares those that are in the making. P is what a fill
// reports of its progress. Use New to make one; all methods may be called from
// many goroutines.
type Cache[P any] struct {
	kept    store
	flights Flights[question, P, found]

	hits, misses, coalesced atomic.Uint64
	saved                   atomic.Int64 // nanoseconds
}

// Stats are numbers since the cache was made, or of now where that is said. A
// look-up is a Get, a Find that found something, or a Fetch with another policy than Off.
type Stats struct {
	Hits      uint64 // look-ups that found an entry
	Misses    uint64 // look-ups that did not, and refreshes
	Coalesced uint64 // look-ups that joined a fill in flight

	Sets       uint64 // entries kept
	TooLarge   uint64 // entries not kept, as one may take only a tenth of the cache
	CrowdedOut uint64 // entries not kept, as those that were in their place are read more often
	Evicted    uint64 // entries that made room for others
	Expired    uint64 // entries that were removed for their age

	Entries  int64 // now; expired ones count until they are removed, which takes seconds
	Bytes    int64 // that they take
	InFlight int   // fills, now

	Saved time.Duration // what the answers of hits and of joined fills took to get
}

const smallest = 64 << 10

// New makes a cache and starts the goroutines that tidy it, which end with Close.
// Where Options keep nothing it starts none, and only shares fills in flight.
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
	return c, nil
}

// Get finds what is kept under a key.
func (c *Cache[P]) Get(key Key) (Entry, bool) {
	e, ok := c.Find(key)
	if !ok {
		c.count(Miss, e)
	}
	return e, ok
}

// Find is Get for whoever asks further if nothing is found, as with a Fetch, and leaves
// it to that to count the miss.
func (c *Cache[P]) Find(key Key) (Entry, bool) {
	e, ok := c.kept.get(key)
	if ok {
		c.count(Hit, e)
	}
	return e, ok
}

// Peek is Get for whoever counts such look-ups apart: it does not count here.
func (c *Cache[P]) Peek(key Key) (Entry, bool) { return c.kept.get(key) }

// Set keeps an entry in place of what is kept under the key, and sets its Stored.
// A cache that is full may decline: it does when those who would have to make room
// are read more often. Then nothing is kept under the key.
func (c *Cache[P]) Set(key Key, e Entry) {
	e.Stored = time.Now()
	c.kept.set(key, e)
}

// Delete removes all entries whose scope matches, and says how many they were.
// match must not use the cache. An answer that is in the making is not affected.
func (c *Cache[P]) Delete(match func(Scope) bool) int { return c.kept.remove(match) }

// Clear removes all entries, and what is known of how often they were read.
func (c *Cache[P]) Clear() { c.kept.clear() }

// Close ends all fills in flight, whose waiters get ErrClosed, forgets all entries
// and ends all goroutines. Afterwards the cache is empty and stays so. It may be
// called at any time, and again, but not by a fill.
func (c *Cache[P]) Close() {
	c.flights.Close()
	c.kept.close()
}

// Stats are the cache's numbers.
func (c *Cache[P]) Stats() Stats {
	s := &c.kept
	return Stats{
		Hits: c.hits.Load(), Misses: c.misses.Load(), Coalesced: c.coalesced.Load(),
		Sets: s.sets.Load(), TooLarge: s.tooLarge.Load(), CrowdedOut: s.crowdedOut.Load(),
		Evicted: s.evicted.Load(), Expired: s.outOfDate.Load(),
		Entries: s.entries.Load(), Bytes: s.bytes(), InFlight: c.flights.Len(),
		Saved: time.Duration(c.saved.Load()),
	}
}

// count counts a look-up that came to an end.
func (c *Cache[P]) count(source Source, e Entry) {
	switch source {
	case Hit:
		c.hits.Add(1)
		c.saved.Add(int64(e.Took))
	case Coalesced:
		c.coalesced.Add(1)
		c.saved.Add(int64(e.Took))
	default:
		c.misses.Add(1)
	}
}
