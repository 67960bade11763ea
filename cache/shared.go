package cache

import (
	"context"
	"fmt"
	"time"
)

// Shared is a store of answers that other processes use too. Its methods return within a short
// time, but for Join, and have no errors: what cannot be had is not there.
type Shared interface {
	// Get returns the record under a key.
	Get(ctx context.Context, key Key) (r Record, ok bool)
	// Set stores a record under a key, and is ok if that has been done.
	Set(ctx context.Context, key Key, r Record) (ok bool)
	// Join is Get for a call that makes the answer otherwise. While another process makes it for
	// an equal flight, Join waits for it, until a time at the latest, unless that is zero. A call
	// that makes the answer then calls leave with how that ended, in any case and once.
	Join(ctx context.Context, key Key, flight string, until time.Time) (r Record, ok bool, leave func(End))
	// Clear removes the records of a model, or for "" all, from here and from the memory of the
	// other processes. It is told if that has been done, and otherwise will be when it can.
	Clear(ctx context.Context, model string) (told bool)
	// OnClear has forget called too for what is cleared, here or by another process. It may not
	// use the store.
	OnClear(forget func(isOf func(model string) bool))
	// State returns how the store fares. It does no input or output.
	State() SharedState
}

// Codec makes bytes of values, for other processes.
type Codec interface {
	// Encode returns nil for a value that is not shared.
	Encode(v Value) []byte
	// Decode undoes Encode. It is not ok for bytes of which it can make nothing.
	Decode(data []byte) (v Value, ok bool)
}

// Record is an answer as it is shared.
type Record struct {
	Data   []byte
	Took   time.Duration // as in Entry
	Stored time.Time     // likewise
	TTL    time.Duration // for which it is shared; set by the store
}

// End says how the making of an answer ended.
type End int

// The ends.
const (
	Failed    End = iota // there is no answer
	NotShared            // there is one that no other call may get
	Stored               // there is one, and it is stored
)

// SharedState is how a shared store fares, with counters since the program began.
type SharedState struct {
	Up       bool
	Since    time.Time // of Up; the zero Time if it is not known yet
	Reason   string    // why it is not up, or takes no new answers; "" if all is well
	Replicas int       // processes that share, this one included

	Hits       uint64 // answers found
	Misses     uint64 // look-ups without one
	Failures   uint64 // commands that failed or took too long
	Unreadable uint64 // records of another version, or that are broken
	TooLarge   uint64 // answers that were not shared for their size
}

// second is the shared store behind a cache. The zero second is none.
type second struct{ Options }

func (s second) is() bool { return s.Shared != nil }

// join looks for an answer, and waits for one that another process makes. It leaves half of the
// time that the calls have to a fill of their own.
func (s second) join(ctx context.Context, l Lookup, all Waiters) (e Entry, ok bool, leave func(End)) {
	if l.Alone {
		e, ok = s.get(ctx, l.Key)
		return e, ok, func(End) {}
	}
	var until time.Time
	if deadline := all.Deadline(); !deadline.IsZero() {
		until = time.Now().Add(time.Until(deadline) / 2)
	}
	r, ok, leave := s.Shared.Join(ctx, l.Key, fmt.Sprintf("%+v", l.Variant), until)
	if ok {
		e, ok = s.entry(r)
	}
	return e, ok, leave
}

// get looks for an answer.
func (s second) get(ctx context.Context, key Key) (e Entry, ok bool) {
	r, ok := s.Shared.Get(ctx, key)
	if ok {
		e, ok = s.entry(r)
	}
	return e, ok
}

// entry makes an entry of a record. It is kept in memory as long as an answer of our own would
// be, but no longer than it is shared.
func (s second) entry(r Record) (e Entry, ok bool) {
	value, ok := s.Codec.Decode(r.Data)
	if !ok {
		return e, false
	}
	age := max(0, wall(time.Now()).Sub(r.Stored))
	return Entry{Value: value, Took: r.Took, TTL: min(age+s.TTL, max(r.TTL, age)), Stored: r.Stored}, true
}

// set shares an entry, and says how the making of its answer ended.
func (s second) set(key Key, e Entry) End {
	if !s.is() {
		return Stored
	}
	if e.TTL < 0 {
		return NotShared
	}
	data := s.Codec.Encode(e.Value)
	if data == nil {
		return NotShared
	}
	// The calls have their answer: whether they are still there does not matter any more.
	if !s.Shared.Set(context.Background(), key, Record{Data: data, Took: e.Took, Stored: e.Stored}) {
		return NotShared
	}
	return Stored
}
