package cache_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/cache"
)

type flights = cache.Flights[string, int, string]

// outcome is what came of one call of Do.
type outcome struct {
	value  string
	shared bool
	err    error
}

// caller is somebody who waits in Do for a fill.
type caller struct {
	leave context.CancelFunc
	end   chan outcome // has the outcome as soon as Do has returned

	follows int // the progress of the flight that the call has joined, or its own
}

// call has somebody call Do with progress 0 and returns when all is quiet.
func call(f *flights, ctx context.Context, key string, fill func(context.Context, cache.Waiters) (string, error)) *caller {
	return callWith(f, ctx, key, 0, fill)
}

// callWith has somebody call Do with a progress, and returns when all is quiet.
func callWith(f *flights, ctx context.Context, key string, progress int, fill func(context.Context, cache.Waiters) (string, error)) *caller {
	ctx, leave := context.WithCancel(ctx)
	c := &caller{leave: leave, end: make(chan outcome, 1), follows: progress}
	go func() {
		defer leave()
		v, shared, err := f.Do(ctx, key, progress, func(p int) { c.follows = p }, fill)
		c.end <- outcome{v, shared, err}
	}()
	synctest.Wait()
	return c
}

// after is a fill that takes a while, and gives up when its context ends.
func after(d time.Duration, value string, err error) func(context.Context, cache.Waiters) (string, error) {
	return func(ctx context.Context, _ cache.Waiters) (string, error) {
		select {
		case <-time.After(d):
			return value, err
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func never(context.Context, cache.Waiters) (string, error) {
	panic("a fill was begun although one was in flight")
}

func TestIdenticalCallsInFlightShareOneFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		first := call(&f, t.Context(), "a", after(time.Minute, "answer", nil))
		callers := make([]*caller, 999)
		for i := range callers {
			callers[i] = call(&f, t.Context(), "a", never)
		}
		other := call(&f, t.Context(), "b", after(time.Minute, "another answer", nil))
		if got := f.Len(); got != 2 {
			t.Errorf("%d fills in flight, want 2", got)
		}
		if got, want := <-first.end, (outcome{"answer", false, nil}); got != want {
			t.Errorf("first: got %+v, want %+v", got, want)
		}
		for _, c := range callers {
			if got, want := <-c.end, (outcome{"answer", true, nil}); got != want {
				t.Fatalf("joined: got %+v, want %+v", got, want)
			}
		}
		if got, want := <-other.end, (outcome{"another answer", false, nil}); got != want {
			t.Errorf("other key: got %+v, want %+v", got, want)
		}
		if got := f.Len(); got != 0 {
			t.Errorf("%d fills in flight at the end", got)
		}
	})
}

func TestFillOutlivesItsFirstCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		first := call(&f, t.Context(), "a", after(time.Minute, "answer", nil))
		second := call(&f, t.Context(), "a", never)
		first.leave()
		if got := <-first.end; !errors.Is(got.err, context.Canceled) {
			t.Errorf("who left: got %+v, want its own cancel", got)
		}
		if got := <-second.end; got.value != "answer" {
			t.Errorf("who stayed: got %+v", got)
		}
	})
}

func TestFillEndsAtOnceWhenTheLastWaiterLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		var ended error
		fill := func(ctx context.Context, _ cache.Waiters) (string, error) {
			<-ctx.Done()
			ended = ctx.Err()
			time.Sleep(time.Second) // it takes a while to wind down
			return "too late", nil
		}
		first, second := call(&f, t.Context(), "a", fill), call(&f, t.Context(), "a", never)
		first.leave()
		synctest.Wait()
		if ended != nil {
			t.Error("the fill was ended while somebody waited")
		}
		second.leave()
		synctest.Wait()
		if ended == nil {
			t.Error("the fill goes on for nobody")
		}
		third := call(&f, t.Context(), "a", after(time.Minute, "new", nil))
		if got := <-third.end; got != (outcome{"new", false, nil}) {
			t.Errorf("who came after: got %+v, want a fill of its own", got)
		}
	})
}

func TestWaitersHaveTheirOwnDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		began := time.Now()
		patient := call(&f, t.Context(), "a", after(time.Minute, "answer", nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hurried := call(&f, ctx, "a", never)
		if got := <-hurried.end; !errors.Is(got.err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("after %v: got %+v, want the deadline at 1s", time.Since(began), got)
		}
		if got := <-patient.end; got.value != "answer" {
			t.Errorf("got %+v", got)
		}
		if got := <-call(&f, ctx, "a", never).end; !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("whose time was over before: got %+v", got)
		}
	})
}

func TestFillIsCancelledForTheReasonOfItsLastWaiter(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cancel time.Duration // when one waiter cancels; the deadline of the other is at 2 s
		want   error
	}{
		{"the deadline passes last", time.Second, context.DeadlineExceeded},
		{"the cancel comes last", 3 * time.Second, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f flights
				cause := make(chan error, 1)
				until := func(d time.Duration) context.Context {
					ctx, cancel := context.WithTimeout(t.Context(), d)
					t.Cleanup(cancel)
					return ctx
				}
				call(&f, until(2*time.Second), "a", func(ctx context.Context, _ cache.Waiters) (string, error) {
					<-ctx.Done()
					cause <- context.Cause(ctx)
					return "", ctx.Err()
				})
				cancelled := call(&f, until(time.Hour), "a", never)
				time.Sleep(tt.cancel)
				cancelled.leave()
				if got := <-cause; !errors.Is(got, tt.want) {
					t.Errorf("the fill was cancelled with %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestFillKnowsNothingOfItsFirstCaller(t *testing.T) {
	type session struct{}
	var f flights
	ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), session{}, "mine"), time.Hour)
	defer cancel()
	_, _, err := f.Do(ctx, "a", 0, nil, func(ctx context.Context, _ cache.Waiters) (string, error) {
		if _, ok := ctx.Deadline(); ok || ctx.Value(session{}) != nil {
			t.Error("the fill's context carries a deadline or values")
		}
		return "", nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCallThatJoinsAFillFollowsItsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		first := callWith(&f, t.Context(), "a", 1, after(time.Second, "answer", nil))
		joined := callWith(&f, t.Context(), "a", 2, never)
		other := callWith(&f, t.Context(), "b", 3, after(time.Second, "answer", nil))
		if first.follows != 1 || joined.follows != 1 || other.follows != 3 {
			t.Errorf("progress followed: %d by the first call, %d by one that joined it, %d by another; want 1, 1, 3", first.follows, joined.follows, other.follows)
		}
		time.Sleep(time.Minute)
		next := callWith(&f, t.Context(), "a", 4, after(time.Second, "answer", nil))
		if next.follows != 4 {
			t.Errorf("after the fill: got %d, want the progress of the new fill, 4", next.follows)
		}
		time.Sleep(time.Minute)
	})
}

func TestFailedFillFailsAllAndIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		broken := errors.New("connection refused")
		first, second := call(&f, t.Context(), "a", after(time.Second, "partial", broken)), call(&f, t.Context(), "a", never)
		for _, c := range []*caller{first, second} {
			if got := <-c.end; got.value != "partial" || !errors.Is(got.err, broken) {
				t.Errorf("got %+v, want the fill's own error and what came with it", got)
			}
		}
		if got := <-call(&f, t.Context(), "a", after(0, "answer", nil)).end; got != (outcome{"answer", false, nil}) {
			t.Errorf("the next call: got %+v, want a new fill", got)
		}
	})
}

func TestPanicInAFillReachesAllWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		first := call(&f, t.Context(), "a", func(context.Context, cache.Waiters) (string, error) {
			time.Sleep(time.Second)
			panic("index out of range")
		})
		second := call(&f, t.Context(), "a", never)
		for _, c := range []*caller{first, second} {
			got := <-c.end
			panicked, ok := errors.AsType[*cache.PanicError](got.err)
			if !ok || panicked.Value != "index out of range" || !strings.Contains(string(panicked.Stack), "flights_test.go") {
				t.Errorf("got %+v, want the panic, and where it was", got)
			}
		}
		if got := <-call(&f, t.Context(), "a", after(0, "answer", nil)).end; got.value != "answer" {
			t.Errorf("the next call: got %+v", got)
		}
	})
}

func TestFillThatEndsItsGoroutineStrandsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		c := call(&f, t.Context(), "a", func(context.Context, cache.Waiters) (string, error) {
			runtime.Goexit()
			return "", nil
		})
		if got := <-c.end; got.err == nil {
			t.Errorf("got %+v, want an error", got)
		}
	})
}

func TestPanicInAWaiterIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		other := call(&f, t.Context(), "a", after(time.Second, "answer", nil))
		clumsy := make(chan any, 1)
		go func() {
			defer func() { clumsy <- recover() }()
			_, _, _ = f.Do(t.Context(), "a", 0, func(int) { panic("no such window") }, never)
		}()
		if got := <-clumsy; got != "no such window" {
			t.Errorf("who panicked: got %v", got)
		}
		if got := <-other.end; got.value != "answer" {
			t.Errorf("the other: got %+v", got)
		}
	})
}

func TestCloseEndsAllFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		var ended atomic.Int32
		fill := func(ctx context.Context, _ cache.Waiters) (string, error) {
			<-ctx.Done()
			time.Sleep(time.Second) // it takes a while to wind down
			ended.Add(1)
			return "too late", nil
		}
		waiting := []*caller{call(&f, t.Context(), "a", fill), call(&f, t.Context(), "a", never), call(&f, t.Context(), "b", fill)}
		f.Close()
		if n := ended.Load(); n != 2 {
			t.Errorf("Close returned when %d of 2 fills had", n)
		}
		for _, c := range waiting {
			if got := <-c.end; got.value != "" || !errors.Is(got.err, cache.ErrClosed) {
				t.Errorf("who waited: got %+v, want ErrClosed", got)
			}
		}
		if got := <-call(&f, t.Context(), "a", never).end; !errors.Is(got.err, cache.ErrClosed) {
			t.Errorf("who came after: got %+v, want ErrClosed", got)
		}
		f.Close()
	})
}
