package fleet

import (
	"context"
	"sync"
	"time"
)

// use tells whether there have been calls of late.
type use struct {
	idleAfter time.Duration // 0: there always have

	mu    sync.Mutex    // guards what follows
	last  time.Time     // when the last call began; zero before the first
	woken chan struct{} // closed by the next touch; nil if nobody waits for it
}

func (u *use) touch() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last = time.Now()
	if u.woken != nil {
		close(u.woken)
		u.woken = nil
	}
}

// wait returns at once if there have been calls of late, and otherwise at the
// next one. It is false when ctx has ended.
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

// idle is nil unless there were no calls of late, and then is closed at the next.
func (u *use) idle() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.idleAfter == 0 || time.Since(u.last) < u.idleAfter {
		return nil
	}
	if u.woken == nil {
		u.woken = make(chan struct{})
	}
	return u.woken
}
