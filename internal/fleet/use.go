package fleet

import (
	"context"
	"sync"
	"time"
)

// use knows whether there have been calls recently.
type use struct {
	idleAfter time.Duration // 0 means that there always have been

	mu    sync.Mutex    // guards what follows
	last  time.Time     // when the last call began, by the wall clock; zero before the first
	woken chan struct{} // closed by the next touch; nil if nobody waits for it
}

func (u *use) touch() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last = wallTime()
	if u.woken != nil {
		close(u.woken)
		u.woken = nil
	}
}

// wait returns at once if there have been calls recently, and otherwise at the next call.
// It returns false when ctx has ended.
func (u *use) wait(ctx context.Context) bool {
	for woken := u.idle(); woken != nil; woken = u.idle() {
		select {
		case <-woken:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// idle returns nil if there have been calls recently, and otherwise a channel that the next
// call closes.
func (u *use) idle() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.idleAfter == 0 || !overdue(u.last, u.idleAfter) {
		return nil
	}
	if u.woken == nil {
		u.woken = make(chan struct{})
	}
	return u.woken
}
