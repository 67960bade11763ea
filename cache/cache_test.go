package cache_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/cache"
)

// small is a cache with room for more than the tests below put into it.
var small = cache.Options{Size: 16 << 20, TTL: 10 * time.Minute}

// text is an answer of nothing but text.
type text string

func (t text) Size() int { return len(t) }

func get(c *cache.Cache[int], key cache.Key) string {
	e, ok := c.Get(key)
	if !ok {
		return "nothing"
	}
	return string(e.Value.(text))
}

func TestEntryIsFoundAsSoonAsItIsSet(t *testing.T) {
	c := open(t, small)
	for i := range 5000 {
		key, value := keyOf(t, i), fmt.Sprint("answer ", i)
		c.Set(key, cache.Entry{Value: text(value)})
		if got := get(c, key); got != value {
			t.Fatalf("right after Set number %d: got %q, want %q", i, got, value)
		}
	}
}

func TestEntryReplacesTheOneBefore(t *testing.T) {
	c := open(t, small)
	for i := range 2000 {
		key := keyOf(t, i)
		c.Set(key, cache.Entry{Value: text("old")})
		c.Set(key, cache.Entry{Value: text("new")})
		if got := get(c, key); got != "new" {
			t.Fatalf("key %d: got %q, want the later entry", i, got)
		}
	}
	if got := c.Stats(); got.Entries != 2000 {
		t.Errorf("got %d entries under 2000 keys", got.Entries)
	}
}

func TestManyWhoSetOneKeyLeaveOneEntry(t *testing.T) {
	c, key := open(t, small), keyOf(t, "question")
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 200 {
				c.Set(key, cache.Entry{Value: text(strings.Repeat("x", 1000))})
			}
		})
	}
	writers.Wait()
	got := c.Stats()
	if got.Entries != 1 || got.Bytes < 1000 || got.Bytes > 2000 || got.Sets != 8*200 {
		t.Errorf("got %+v, want one entry of 1 to 2 kB, set 1600 times", got)
	}
}

func TestOversizeEntryIsRefusedAndTheOneBeforeIsGone(t *testing.T) {
	c, key := open(t, cache.Options{Size: 1 << 20, TTL: time.Hour}), keyOf(t, "question")
	c.Set(key, cache.Entry{Value: text("old")})
	c.Set(key, cache.Entry{Value: text(strings.Repeat("x", 1<<20/10))})
	if got := get(c, key); got != "nothing" {
		t.Errorf("got %.10q under the key, want nothing", got)
	}
	c.Set(key, cache.Entry{Value: text(strings.Repeat("x", 1<<20/11))})
	if got := get(c, key); len(got) != 1<<20/11 {
		t.Errorf("got %.10q, want an entry of less than a tenth of the cache to be kept", got)
	}
	if got := c.Stats(); got.TooLarge != 1 || got.Sets != 2 || got.Entries != 1 {
		t.Errorf("got %+v, want one too large, two kept, and one of them now", got)
	}
}

func TestEntryServesForItsTimeOnly(t *testing.T) {
	for _, c := range []struct{ own, want time.Duration }{
		{0, 10 * time.Minute},
		{time.Second, time.Second},
		{time.Hour, time.Hour},
		{-1, 0},
	} {
		t.Run(c.own.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kept, key := open(t, small), keyOf(t, "question")
				kept.Set(key, cache.Entry{Value: text("answer"), TTL: c.own})
				time.Sleep(c.want)
				if got := get(kept, key); c.want > 0 && got != "answer" {
					t.Errorf("after %v: got %q", c.want, got)
				}
				time.Sleep(time.Nanosecond)
				if got := get(kept, key); got != "nothing" {
					t.Errorf("after %v and more: got %q", c.want, got)
				}
				time.Sleep(10 * time.Second) // ristretto tidies in steps of five seconds
				if got := kept.Stats(); got.Entries != 0 || got.Bytes != 0 || c.want > 0 && got.Expired != 1 {
					t.Errorf("later: got %+v, want it removed and counted as expired", got)
				}
			})
		})
	}
}

func TestCacheThatKeepsNothingStartsNothing(t *testing.T) {
	for _, o := range []cache.Options{{}, {Size: 1 << 20}, {TTL: time.Hour}} {
		synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left: there is no Close
			c, err := cache.New[int](o)
			if err != nil {
				t.Fatal(err)
			}
			key := keyOf(t, "question")
			c.Set(key, cache.Entry{Value: text("answer")})
			if got := get(c, key); got != "nothing" {
				t.Errorf("%+v: got %q, want nothing kept", o, got)
			}
			c.Clear()
			if n := c.Delete(func(cache.Scope) bool { return true }); n != 0 {
				t.Errorf("%+v: %d entries deleted", o, n)
			}
			if got, want := c.Stats(), (cache.Stats{Misses: 1}); got != want {
				t.Errorf("%+v: got %+v, want %+v", o, got, want)
			}
		})
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for _, o := range []cache.Options{
		{Size: -1, TTL: time.Hour},
		{Size: 1 << 20, TTL: -1},
		{Size: 256, TTL: time.Hour}, // meant megabytes
	} {
		if _, err := cache.New[int](o); err == nil || !strings.Contains(err.Error(), "Size") {
			t.Errorf("%+v: got error %v, want one that names Size", o, err)
		}
	}
}

func TestEntriesCanBeDeletedByTheirScope(t *testing.T) {
	c := open(t, small)
	keys := make(map[cache.Scope]cache.Key)
	for _, tenant := range []string{"a", "b"} {
		for _, model := range []string{"x:latest", "y:latest"} {
			scope := cache.Scope{Tenant: tenant, Model: model}
			keys[scope] = keyIn(t, scope, "question")
			c.Set(keys[scope], cache.Entry{Value: text("answer")})
		}
	}
	if n := c.Delete(func(s cache.Scope) bool { return s.Tenant == "a" && s.Model == "x:latest" }); n != 1 {
		t.Errorf("%d deleted, want 1", n)
	}
	if n := c.Delete(func(s cache.Scope) bool { return s.Model == "y:latest" }); n != 2 {
		t.Errorf("%d deleted, want 2", n)
	}
	for scope, key := range keys {
		if _, ok := c.Get(key); ok != (scope == cache.Scope{Tenant: "b", Model: "x:latest"}) {
			t.Errorf("%+v: found %v", scope, ok)
		}
	}
	c.Clear()
	if got := c.Stats(); got.Entries != 0 || got.Bytes != 0 || got.Evicted != 0 || got.Sets != 4 {
		t.Errorf("after Clear: got %+v, want nothing kept, nothing evicted, and the counts of before", got)
	}
}

func TestCacheMayBeClosedAndClearedWhileInUse(t *testing.T) {
	keys := make([]cache.Key, 32)
	for i := range keys {
		keys[i] = keyOf(t, i)
	}
	for range 50 {
		synctest.Test(t, func(t *testing.T) { // fails if anybody hangs or a goroutine is left
			c, err := cache.New[int](small)
			if err != nil {
				t.Fatal(err)
			}
			var users sync.WaitGroup
			for range 4 {
				users.Go(func() {
					for i := range 100 {
						c.Set(keys[i%32], cache.Entry{Value: text("answer")})
						if e, ok := c.Get(keys[(i+1)%32]); ok && e.Value != text("answer") {
							t.Errorf("got %q", e.Value)
						}
					}
				})
			}
			users.Go(func() {
				for range 5 {
					c.Clear()
					c.Delete(func(cache.Scope) bool { return true })
					c.Stats()
				}
			})
			users.Go(c.Close)
			users.Go(c.Close)
			users.Wait()
			c.Set(keys[0], cache.Entry{Value: text("answer")})
			if got := get(c, keys[0]); got != "nothing" {
				t.Errorf("after Close: got %q", got)
			}
			if got := c.Stats(); got.Entries != 0 || got.Bytes != 0 {
				t.Errorf("after Close: got %+v, want nothing kept", got)
			}
		})
	}
}
