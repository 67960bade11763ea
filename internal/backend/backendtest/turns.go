package backendtest

import (
	"context"
	"slices"
	"sync"
)

// turns admits a limited number of calls at a time, in the order of their arrival.
type turns struct {
	mu    sync.Mutex
	limit int // 0: any number
	in    int
	queue []chan struct{} // closed when its turn has come
}

// enter waits for the caller's turn. If it returns no error, leave must be called.
func (t *turns) enter(ctx context.Context) error {
	turn := make(chan struct{})
	t.mu.Lock()
	t.queue = append(t.queue, turn)
	t.admit()
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.queue, turn); i >= 0 {
		t.queue = slices.Delete(t.queue, i, i+1)
	} else { // its turn came just now
		t.in--
		t.admit()
	}
	return ctx.Err()
}

func (t *turns) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.in--
	t.admit()
}

func (t *turns) setLimit(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = n
	t.admit()
}

// admit admits as many as the limit allows. The lock is held.
func (t *turns) admit() {
	for len(t.queue) > 0 && (t.limit <= 0 || t.in < t.limit) {
		close(t.queue[0])
		t.queue = t.queue[1:]
		t.in++
	}
}
