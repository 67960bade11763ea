package fleet

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// task is something that goes on for as long as it is in Fleet.tasks.
type task interface {
	run(ctx context.Context)
	close() // closes the host that the task is about, if it is about one
}

// Watch looks up names, polls hosts and closes hosts that have gone, until ctx ends and
// everything that it began has ended. It is called once.
func (f *Fleet) Watch(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	running := make(map[task]context.CancelFunc)
	for {
		changed := f.reconcile(running, func(t task) context.CancelFunc {
			ctx, stop := context.WithCancel(ctx)
			all.Go(func() { t.run(ctx) })
			return stop
		})
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// reconcile stops what runs but is no longer a task, and begins tasks that do not run yet.
func (f *Fleet) reconcile(running map[task]context.CancelFunc, begin func(task) context.CancelFunc) (changed <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for t, stop := range running {
		if _, wanted := f.tasks[t]; !wanted {
			stop()
			delete(running, t)
		}
	}
	for t := range f.tasks {
		if running[t] == nil {
			running[t] = begin(t)
		}
	}
	return f.changed
}

// drain is a removed host, until its last call has ended.
type drain struct {
	*member
	drained <-chan struct{}
}

func (d *drain) run(ctx context.Context) {
	select {
	case <-d.drained:
	case <-ctx.Done(): // Fleet.Close will close it
		return
	}
	f := d.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	d.close()
	delete(f.tasks, d)
	f.tell()
}

// sleep waits for d, and reports whether ctx lasted that long.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// jitter is d, give or take a fifth, so that what began together drifts apart.
func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1)
}

// wallTime is the present time by the wall clock alone. The monotonic clock, which Go
// prefers, stops while a machine sleeps: a list of models from the evening before would
// pass for one of a few seconds ago.
func wallTime() time.Time { return time.Now().Round(0) }

// overdue reports whether d has passed since a wallTime. It also reports true if the clock
// has been set back to before that time.
func overdue(since time.Time, d time.Duration) bool {
	passed := time.Since(since)
	return passed >= d || passed < 0
}
