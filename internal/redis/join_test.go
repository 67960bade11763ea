package redis

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2/server"

	"ollama-mcp/cache"
)

type miniredisPeer = server.Peer

// filled is what one call of a question has come to.
type filled struct {
	text  string
	after time.Duration
}

// ask makes an answer as the cache does: it is found, or waited for, or made in a time by this
// replica, which counts.
func ask(ctx context.Context, c *Client, k cache.Key, takes time.Duration, fills *atomic.Int64, how cache.End) filled {
	began := time.Now()
	r, ok, leave := c.Join(ctx, k, "", time.Time{})
	if ok {
		return filled{string(r.Data), time.Since(began)}
	}
	fills.Add(1)
	time.Sleep(takes)
	if how == cache.Stored {
		c.Set(ctx, k, record("because"))
	}
	leave(how)
	return filled{"because", time.Since(began)}
}

// askAll has every replica ask the same question at once.
func askAll(replicas []*Client, k cache.Key, takes time.Duration, how cache.End) (fills int64, all []filled) {
	var n atomic.Int64
	results := make(chan filled)
	for _, c := range replicas {
		go func() { results <- ask(context.Background(), c, k, takes, &n, how) }()
	}
	for range replicas {
		all = append(all, <-results)
	}
	return n.Load(), all
}

func (w *world) replicas(n int) (all []*Client) {
	for range n {
		c, _ := w.replica()
		all = append(all, c)
	}
	return all
}

func TestOneReplicaMakesAnAnswerWhileTheOthersWait(t *testing.T) {
	for _, takes := range []time.Duration{time.Millisecond, 100 * time.Millisecond, 15 * time.Second} {
		inWorld(t, func(t *testing.T, w *world) {
			fills, all := askAll(w.replicas(5), keyFor(t, "", "why?"), takes, cache.Stored)
			if fills != 1 {
				t.Errorf("the answer was made %d times, want once", fills)
			}
			for _, f := range all {
				if f.after > takes+maxLook {
					t.Errorf("after %v, where it took %v", f.after, takes)
				}
			}
		})
	}
}

func TestAnswerThatIsNotSharedIsWaitedForOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const takes = 10 * time.Second
		fills, all := askAll(w.replicas(5), keyFor(t, "", "why?"), takes, cache.NotShared)
		if fills != 5 {
			t.Errorf("the answer was made %d times, want by each", fills)
		}
		for _, f := range all {
			if f.after > 2*takes+maxLook {
				t.Errorf("after %v, where it took %v", f.after, takes)
			}
		}
	})
}

func TestReplicaThatFailsIsReplacedByOneOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all, k := w.replicas(3), keyFor(t, "", "why?")
		_, ok, leave := all[0].Join(t.Context(), k, "", time.Time{})
		if ok {
			t.Fatal("found what nobody has made")
		}
		time.AfterFunc(10*time.Second, func() { leave(cache.Failed) })
		fills, _ := askAll(all[1:], k, time.Minute, cache.Stored)
		if fills != 1 {
			t.Errorf("the answer was made %d times, want once", fills)
		}
	})
}

func TestReplicaThatDiesIsReplacedByOneOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		dying, stop := w.replica()
		others, k := w.replicas(3), keyFor(t, "", "why?")
		_, _, leave := dying.Join(t.Context(), k, "", time.Time{})
		defer leave(cache.Failed)
		time.Sleep(time.Minute) // for which it holds its lease
		if _, ok := w.server.DB(0).Get(dying.keyOf(k) + ":lease:e3b0c44298fc1c14"); ok != nil {
			t.Fatal("the lease was not renewed")
		}
		began := time.Now()
		stop()
		results := make(chan filled)
		var fills atomic.Int64
		for _, c := range others {
			go func() { results <- ask(t.Context(), c, k, time.Second, &fills, cache.Stored) }()
		}
		synctest.Wait()
		w.server.FastForward(leaseTime) // the pretend server's time does not pass by itself
		for range others {
			<-results
		}
		if fills.Load() != 1 {
			t.Errorf("the answer was made %d times, want once", fills.Load())
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("it took %v until there was an answer", d)
		}
	})
}

func TestNoCallWaitsLongerThanItMay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all, k := w.replicas(2), keyFor(t, "", "why?")
		_, _, leave := all[0].Join(t.Context(), k, "", time.Time{})
		defer leave(cache.Failed)

		began := time.Now()
		_, ok, own := all[1].Join(t.Context(), k, "", time.Now().Add(10*time.Second))
		own(cache.Failed)
		if d := time.Since(began); ok || d > 10*time.Second || d < 9*time.Second {
			t.Errorf("waited %v, want about 10 s", d)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began = time.Now()
		_, ok, own = all[1].Join(ctx, k, "", time.Time{})
		own(cache.Failed)
		if d := time.Since(began); ok || d != 3*time.Second {
			t.Errorf("waited %v, want until the call ended", d)
		}

		time.AfterFunc(time.Second, func() { w.swallows.Store(true) })
		began = time.Now()
		_, ok, own = all[1].Join(t.Context(), k, "", time.Time{})
		own(cache.Failed)
		if d := time.Since(began); ok || d > time.Second+maxLook+commandTime {
			t.Errorf("waited %v for a server that is gone", d)
		}
	})
}

func TestCallsThatWantDifferentThingsDoNotWaitForEachOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all, k := w.replicas(2), keyFor(t, "", "why?")
		_, _, leave := all[0].Join(t.Context(), k, "batch", time.Time{})
		defer leave(cache.Failed)
		began := time.Now()
		_, ok, own := all[1].Join(t.Context(), k, "interactive", time.Time{})
		own(cache.Failed)
		if ok || time.Since(began) > 0 {
			t.Errorf("waited %v for a call with another priority", time.Since(began))
		}
	})
}
