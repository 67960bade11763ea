package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ollama-mcp/internal/workers"
)

// ErrClosed is the error of calls that wait, or arrive, while the program shuts down.
var ErrClosed = errors.New("shutting down")

// PanicError reports a panic in a fill to the calls that waited for it.
type PanicError struct {
	Value any    // the value that the fill panicked with
	Stack []byte // the stack of the panic, for the log
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("panic while an answer was made: %v", e.Value)
}

// Flights let identical calls share one fill while it is in flight. K identifies a
// request, P is the type through which a fill reports progress, and V its result. The zero
// value is ready for use.
type Flights[K comparable, P, V any] struct {
	fills workers.Group
	stop  chan struct{} // closed by Close, to end spare goroutines; nil if none are kept
	// finished counts the flights that have ended.
	finished atomic.Uint64

	// mu guards the fields below and all flights. It is never held while a function
	// of a caller runs.
	mu       sync.Mutex
	inFlight map[K][]*flight[P, V] // that calls may join; more than one if some have limited their joins
	closed   bool
}

// flight is one fill and the calls that wait for it.
type flight[P, V any] struct {
	progress  P
	cancel    context.CancelCauseFunc // ends the fill
	deadlines []time.Time             // one for each waiting call; the zero Time for a call without
	began     time.Time
	longest   time.Duration // that a call may still have if it is to join; 0 for any time

	retired  bool // it is not among those in flight any more
	finished bool
	done     chan struct{} // closed once finished; value and err do not change then
	value    V
	err      error
}

// Do returns what fill returns, or what a fill for the same key returns that is
// already in flight; shared tells the two apart. All calls that wait for a fill share
// its end: a value, an error, or *PanicError. The key is free again then, and the next
// call starts a new fill.
//
// A fill reports progress through a value that the call which starts it passes to Do. A call
// that joins a flight gets the value of that flight: onJoin (nil if it is not interested) is
// called with it, on the call's own goroutine, before the call waits.
//
// A fill belongs to no single call, so its context carries neither a deadline nor
// values: those of the first caller would bind the others to its time, its session and
// its trace. A fill captures what it needs to know, and asks Waiters for the rest. The
// context is cancelled when the last waiting call leaves, with that call's cause:
// context.DeadlineExceeded if its time was over, context.Canceled if it was cancelled.
//
// A call leaves when its own ctx ends, with that context's error.
func (f *Flights[K, P, V]) Do(ctx context.Context, key K, progress P, onJoin func(P), fill func(context.Context, Waiters) (V, error)) (v V, shared bool, err error) {
	return f.doBy(ctx, time.Time{}, key, progress, onJoin, fill)
}

// doBy is Do for a call that also leaves when a deadline passes, unless that is the zero Time. It
// costs less than a context that ends then.
func (f *Flights[K, P, V]) doBy(
	ctx context.Context, deadline time.Time, key K, progress P, onJoin func(P), fill func(context.Context, Waiters) (V, error),
) (v V, shared bool, err error) {
	var late <-chan time.Time
	if of, ok := ctx.Deadline(); ok && (deadline.IsZero() || !deadline.Before(of)) {
		deadline = of // which ends ctx
	} else if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		late = timer.C
	}
	switch {
	case ctx.Err() != nil:
		return v, false, ctx.Err()
	case late != nil && !time.Now().Before(deadline):
		return v, false, context.DeadlineExceeded
	}
	fl, shared, err := f.join(key, deadline, progress, fill)
	if err != nil {
		return v, false, err
	}
	var cause error
	defer func() { f.leave(key, fl, deadline, cause) }()
	if shared && onJoin != nil {
		onJoin(fl.progress)
	}
	select {
	case <-fl.done:
	case <-ctx.Done():
		err, cause = ctx.Err(), context.Cause(ctx)
	case <-late:
		err, cause = context.DeadlineExceeded, context.DeadlineExceeded
	}
	select {
	case <-fl.done: // an answer beats a deadline that passed with it
		return fl.value, shared, fl.err
	default:
		return v, shared, err
	}
}

// Len is the number of fills in flight.
func (f *Flights[K, P, V]) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, flights := range f.inFlight {
		n += len(flights)
	}
	return n
}

// Close gives ErrClosed to all calls that wait and all that come later, cancels all
// fills and returns when they have returned. A fill must not call it.
func (f *Flights[K, P, V]) Close() {
	f.mu.Lock()
	if !f.closed && f.stop != nil {
		close(f.stop)
	}
	f.closed = true
	var none V
	for key, flights := range f.inFlight {
		for _, fl := range slices.Clone(flights) {
			f.finish(key, fl, none, ErrClosed)
		}
	}
	f.mu.Unlock()
	f.fills.Wait()
}

// keep has up to spare goroutines wait for further fills. It must be called before Do, and
// then Close must be called at the end.
func (f *Flights[K, P, V]) keep(spare int) {
	f.stop = make(chan struct{})
	f.fills.Keep(spare, f.stop)
}

// join adds a call with a deadline to a flight for a key, and starts one if there is none
// that it may join.
func (f *Flights[K, P, V]) join(key K, deadline time.Time, progress P, fill func(context.Context, Waiters) (V, error)) (fl *flight[P, V], shared bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, false, ErrClosed
	}
	for _, fl := range f.inFlight[key] {
		if fl.admits(deadline) {
			fl.deadlines = append(fl.deadlines, deadline)
			return fl, true, nil
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	fl = &flight[P, V]{progress: progress, cancel: cancel, deadlines: []time.Time{deadline}, began: time.Now(), done: make(chan struct{})}
	if f.inFlight == nil {
		f.inFlight = make(map[K][]*flight[P, V])
	}
	f.inFlight[key] = append(f.inFlight[key], fl)
	f.fills.Go(func() { f.run(ctx, key, fl, fill) })
	return fl, false, nil
}

// run runs a fill to its end, whichever that is.
func (f *Flights[K, P, V]) run(ctx context.Context, key K, fl *flight[P, V], fill func(context.Context, Waiters) (V, error)) {
	var v V
	err := errors.New("the fill ended its goroutine") // runtime.Goexit cannot be recovered
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.finish(key, fl, v, err)
	}()
	v, err = fill(ctx, waiters[K, P, V]{f, fl})
}

// finish ends a flight with a result, unless it already has one. mu is held.
func (f *Flights[K, P, V]) finish(key K, fl *flight[P, V], v V, err error) {
	f.retire(key, fl, nil)
	if fl.finished {
		return
	}
	f.finished.Add(1)
	fl.finished, fl.value, fl.err = true, v, err
	close(fl.done)
}

// leave removes a call with a deadline from a flight. When it was the last, the fill is
// cancelled with the call's cause, and a call that comes now starts a new flight.
func (f *Flights[K, P, V]) leave(key K, fl *flight[P, V], deadline time.Time, cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(fl.deadlines, deadline.Equal)
	fl.deadlines = slices.Delete(fl.deadlines, i, i+1)
	if len(fl.deadlines) == 0 {
		f.retire(key, fl, cause)
	}
}

// retire cancels a flight's context and lets no more calls join. mu is held.
func (f *Flights[K, P, V]) retire(key K, fl *flight[P, V], cause error) {
	fl.cancel(cause)
	if fl.retired {
		return
	}
	fl.retired = true
	others := slices.DeleteFunc(f.inFlight[key], func(other *flight[P, V]) bool { return other == fl })
	if len(others) == 0 {
		delete(f.inFlight, key)
	} else {
		f.inFlight[key] = others
	}
}

// admits reports whether a call with a deadline may join.
func (fl *flight[P, V]) admits(deadline time.Time) bool {
	return fl.longest == 0 || !deadline.IsZero() && time.Until(deadline) <= fl.longest
}

// deadline returns the latest deadline of the calls that wait.
func (fl *flight[P, V]) deadline() (latest time.Time) {
	for _, deadline := range fl.deadlines {
		if deadline.IsZero() {
			return deadline
		}
		if deadline.After(latest) {
			latest = deadline
		}
	}
	return latest
}

// Waiters are the calls that wait for a fill. Its methods are safe for concurrent use.
type Waiters interface {
	// Deadline returns the latest deadline of the calls that wait at the moment, or the zero
	// Time if one of them has none. It changes when a call joins or leaves, so a fill asks
	// for it before each decision.
	Deadline() time.Time
	// LimitJoins is called by a fill that has decided something because its time is short.
	// From then on only calls join that have no more time left than the fill was given,
	// since a call with more time might have had another answer.
	LimitJoins()
}

// waiters implements Waiters for a flight.
type waiters[K comparable, P, V any] struct {
	*Flights[K, P, V]
	fl *flight[P, V]
}

func (w waiters[K, P, V]) Deadline() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fl.deadline()
}

func (w waiters[K, P, V]) LimitJoins() {
	w.mu.Lock()
	defer w.mu.Unlock()
	deadline := w.fl.deadline()
	if given := deadline.Sub(w.fl.began); !deadline.IsZero() && (w.fl.longest == 0 || given < w.fl.longest) {
		w.fl.longest = max(given, 1)
	}
}

// alone implements Waiters for a call that shares its fill with no other: its deadline.
type alone time.Time

func (a alone) Deadline() time.Time { return time.Time(a) }
func (alone) LimitJoins()           {}
