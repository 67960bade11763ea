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

// Waiters are the calls that wait for a fill, as the fill sees them. P is the type of
// its progress reports.
type Waiters[P any] interface {
	// Report passes progress on to every waiting call. It never blocks on them.
	Report(p P)
	// Deadline returns the latest deadline of the calls that wait now, or the zero
	// Time if one of them has none. It moves when a call joins or leaves, so a fill
	// asks again whenever it decides something by it.
	Deadline() time.Time
}

// Flights let identical calls share one fill while it is in flight. K identifies a
// request, P is what a fill reports of its progress, and V its result. The zero value
// is ready for use.
type Flights[K comparable, P, V any] struct {
	fills sync.WaitGroup
	// finished counts the flights that have ended.
	finished atomic.Uint64

	// mu guards the fields below and all flights. It is never held while a function
	// of a caller runs.
	mu       sync.Mutex
	inFlight map[K]*flight[K, P, V]
	closed   bool
}

// flight is one fill and the calls that wait for it. It implements Waiters.
type flight[K comparable, P, V any] struct {
	flights *Flights[K, P, V]
	cancel  context.CancelCauseFunc // ends the fill

	deadlines []time.Time // one for each waiting call; the zero Time for a call without

	latest  P
	reports int           // number of reports so far
	news    chan struct{} // closed by the next report

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
// A fill belongs to no single call, so its context carries neither a deadline nor
// values: those of the first caller would bind the others to its time, its session and
// its trace. A fill captures what it needs to know, and learns from Waiters.Deadline
// how much time it has. Its context ends when the last waiting call leaves, with that
// call's cause: context.DeadlineExceeded if its time was over, context.Canceled if it
// was cancelled.
//
// A call leaves when its own ctx ends, with that context's error. Its onProgress (nil
// for none) runs on the call's goroutine with the latest report, including one made
// before the call joined; a slow one misses reports and delays nobody.
func (f *Flights[K, P, V]) Do(ctx context.Context, key K, onProgress func(P), fill func(context.Context, Waiters[P]) (V, error)) (v V, shared bool, err error) {
	if err := ctx.Err(); err != nil {
		return v, false, err
	}
	deadline, _ := ctx.Deadline()
	fl, shared, err := f.join(key, deadline, fill)
	if err != nil {
		return v, false, err
	}
	defer func() { f.leave(key, fl, deadline, context.Cause(ctx)) }()
	v, err = fl.wait(ctx, onProgress)
	return v, shared, err
}

// Len is the number of fills in flight.
func (f *Flights[K, P, V]) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.inFlight)
}

// Close gives ErrClosed to all calls that wait and all that come later, cancels all
// fills and returns when they have returned. A fill must not call it.
func (f *Flights[K, P, V]) Close() {
	f.mu.Lock()
	f.closed = true
	var none V
	for key, fl := range f.inFlight {
		f.finish(key, fl, none, ErrClosed)
	}
	f.mu.Unlock()
	f.fills.Wait()
}

// join adds a call with a deadline to the flight for a key, and starts the flight if
// there is none.
func (f *Flights[K, P, V]) join(key K, deadline time.Time, fill func(context.Context, Waiters[P]) (V, error)) (fl *flight[K, P, V], shared bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, false, ErrClosed
	}
	if fl, ok := f.inFlight[key]; ok {
		fl.deadlines = append(fl.deadlines, deadline)
		return fl, true, nil
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	fl = &flight[K, P, V]{
		flights: f, cancel: cancel, deadlines: []time.Time{deadline},
		news: make(chan struct{}), done: make(chan struct{}),
	}
	if f.inFlight == nil {
		f.inFlight = make(map[K]*flight[K, P, V])
	}
	f.inFlight[key] = fl
	f.fills.Go(func() { f.run(ctx, key, fl, fill) })
	return fl, false, nil
}

// run runs a fill to its end, whichever that is.
func (f *Flights[K, P, V]) run(ctx context.Context, key K, fl *flight[K, P, V], fill func(context.Context, Waiters[P]) (V, error)) {
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
	v, err = fill(ctx, fl)
}

// finish ends a flight with a result, unless it already has one. mu is held.
func (f *Flights[K, P, V]) finish(key K, fl *flight[K, P, V], v V, err error) {
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
func (f *Flights[K, P, V]) leave(key K, fl *flight[K, P, V], deadline time.Time, cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(fl.deadlines, deadline.Equal)
	fl.deadlines = slices.Delete(fl.deadlines, i, i+1)
	if len(fl.deadlines) == 0 {
		f.retire(key, fl, cause)
	}
}

// retire cancels a flight's context and lets no more calls join. mu is held.
func (f *Flights[K, P, V]) retire(key K, fl *flight[K, P, V], cause error) {
	fl.cancel(cause)
	if f.inFlight[key] == fl {
		delete(f.inFlight, key)
	}
}

// Report implements Waiters.
func (fl *flight[K, P, V]) Report(p P) {
	fl.flights.mu.Lock()
	defer fl.flights.mu.Unlock()
	fl.latest = p
	fl.reports++
	close(fl.news)
	fl.news = make(chan struct{})
}

// Deadline implements Waiters.
func (fl *flight[K, P, V]) Deadline() (latest time.Time) {
	fl.flights.mu.Lock()
	defer fl.flights.mu.Unlock()
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

// wait returns the result of a flight, or the error of ctx if that ends first.
func (fl *flight[K, P, V]) wait(ctx context.Context, onProgress func(P)) (v V, err error) {
	seen := 0
	for {
		fl.flights.mu.Lock()
		finished, latest, reports, news := fl.finished, fl.latest, fl.reports, fl.news
		fl.flights.mu.Unlock()
		switch {
		case finished: // checked first: an answer beats a deadline that passed with it
			return fl.value, fl.err
		case ctx.Err() != nil:
			return v, ctx.Err()
		case reports > seen && onProgress != nil:
			onProgress(latest)
		}
		seen = reports

		select {
		case <-fl.done:
		case <-news:
		case <-ctx.Done():
		}
	}
}
