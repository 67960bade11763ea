package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// ErrClosed is what calls get that wait, or come, when all is being shut down.
var ErrClosed = errors.New("shutting down")

// PanicError is a panic in a fill, as its waiters get it.
type PanicError struct {
	Value any    // what the fill panicked with
	Stack []byte // where, for the log
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("panic while an answer was made: %v", e.Value)
}

// Flights let identical calls share one fill while it is in flight: K tells calls
// apart, P is what a fill reports of its progress, V its result. The zero value is
// ready for use.
type Flights[K comparable, P, V any] struct {
	fills sync.WaitGroup

	// mu guards what follows and all flights, and is never held while a function
	// of a caller runs.
	mu       sync.Mutex
	inFlight map[K]*flight[P, V]
	closed   bool
}

// flight is one fill and those who wait for it.
type flight[P, V any] struct {
	cancel  context.CancelFunc // ends the fill
	waiters int

	latest  P
	reports int           // made so far
	news    chan struct{} // closed by the next report

	landed bool
	done   chan struct{} // closed when it has landed; value and err do not change then
	value  V
	err    error
}

// Do returns what fill returns, or what a fill for the same key returns that is in
// flight already; shared tells the two apart. All who wait for a fill share its
// end: a value, an error, or *PanicError. It is forgotten then, and the next call
// fills anew.
//
// A fill belongs to nobody, so its context carries no deadline and no values:
// those of the first caller would tie the others to its time, its session and its
// trace. What a fill needs to know, it captures. Its context ends when the last
// waiter has left, and so at the latest of their deadlines.
//
// A waiter leaves when its own ctx ends, with that context's error. Its onProgress
// (nil for none) is called on its own goroutine with the latest report, also one
// that was made before it came; who is slow misses reports and delays nobody.
func (f *Flights[K, P, V]) Do(ctx context.Context, key K, onProgress func(P), fill func(ctx context.Context, report func(P)) (V, error)) (v V, shared bool, err error) {
	if err := ctx.Err(); err != nil {
		return v, false, err
	}
	fl, shared, err := f.board(key, fill)
	if err != nil {
		return v, false, err
	}
	defer f.leave(key, fl)
	v, err = f.await(ctx, fl, onProgress)
	return v, shared, err
}

// Len is how many fills are in flight.
func (f *Flights[K, P, V]) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.inFlight)
}

// Close gives ErrClosed to all who wait and all who come later, ends all fills and
// returns when they have returned. A fill must not call it.
func (f *Flights[K, P, V]) Close() {
	f.mu.Lock()
	f.closed = true
	var none V
	for key, fl := range f.inFlight {
		f.land(key, fl, none, ErrClosed)
	}
	f.mu.Unlock()
	f.fills.Wait()
}

// board joins the flight for a key, or starts it.
func (f *Flights[K, P, V]) board(key K, fill func(context.Context, func(P)) (V, error)) (fl *flight[P, V], shared bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, false, ErrClosed
	}
	if fl, ok := f.inFlight[key]; ok {
		fl.waiters++
		return fl, true, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	fl = &flight[P, V]{cancel: cancel, waiters: 1, news: make(chan struct{}), done: make(chan struct{})}
	if f.inFlight == nil {
		f.inFlight = make(map[K]*flight[P, V])
	}
	f.inFlight[key] = fl
	f.fills.Go(func() { f.fly(ctx, key, fl, fill) })
	return fl, false, nil
}

func (f *Flights[K, P, V]) fly(ctx context.Context, key K, fl *flight[P, V], fill func(context.Context, func(P)) (V, error)) {
	var v V
	err := errors.New("the making of an answer was abandoned") // by runtime.Goexit, which cannot be recovered
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.land(key, fl, v, err)
	}()
	v, err = fill(ctx, func(p P) { f.report(fl, p) })
}

func (f *Flights[K, P, V]) report(fl *flight[P, V], p P) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.latest = p
	fl.reports++
	close(fl.news)
	fl.news = make(chan struct{})
}

// land ends a flight with a result, unless it has one. mu is held.
func (f *Flights[K, P, V]) land(key K, fl *flight[P, V], v V, err error) {
	f.forget(key, fl)
	if fl.landed {
		return
	}
	fl.landed, fl.value, fl.err = true, v, err
	close(fl.done)
}

// leave counts a waiter out. When it was the last, the fill ends, and whoever
// comes now does not board a flight that is going down.
func (f *Flights[K, P, V]) leave(key K, fl *flight[P, V]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.waiters--; fl.waiters == 0 {
		f.forget(key, fl)
	}
}

// forget ends a flight's context and lets no more callers join. mu is held.
func (f *Flights[K, P, V]) forget(key K, fl *flight[P, V]) {
	fl.cancel()
	if f.inFlight[key] == fl {
		delete(f.inFlight, key)
	}
}

func (f *Flights[K, P, V]) await(ctx context.Context, fl *flight[P, V], onProgress func(P)) (v V, err error) {
	seen := 0
	for {
		f.mu.Lock()
		landed, latest, reports, news := fl.landed, fl.latest, fl.reports, fl.news
		f.mu.Unlock()
		switch {
		case landed: // first of all: an answer beats a deadline that came with it
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
