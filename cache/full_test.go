package cache_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/cache"
)

func TestNewEntryIsFoundWhileThereIsRoomHoweverOftenOthersAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that the policy counts all that was read
		c := open(t, cache.Options{Size: 8 << 20, TTL: time.Hour})
		for i := range 500 {
			c.Set(keyOf(t, i), cache.Entry{Value: text(strings.Repeat("x", 8<<10))})
			for j := range 10 {
				get(c, keyOf(t, j))
			}
			synctest.Wait()
			for j := max(0, i-20); j <= i; j++ {
				if get(c, keyOf(t, j)) == "nothing" {
					t.Fatalf("entry %d is not found after %d, with %d of %d bytes in use", j, i, c.Stats().Bytes, 8<<20)
				}
			}
		}
	})
}

// TestFullCacheKnowsWhatIsAskedAgainSoonAndWhatIsPopular asks a full cache a third
// of its questions again within twenty others, a third by their popularity, and a
// third only once.
func TestFullCacheKnowsWhatIsAskedAgainSoonAndWhatIsPopular(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, cache.Options{Size: 4 << 20, TTL: time.Hour})
		ask := func(question int) bool {
			_, source, err := c.Fetch(t.Context(), cache.Lookup{Key: keyOf(t, question), Policy: cache.Auto}, 0, nil, func(context.Context, cache.Waiters) (cache.Entry, bool, error) {
				time.Sleep(time.Second)
				return cache.Entry{Value: text(strings.Repeat("x", 8<<10))}, true, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return source == cache.Hit
		}
		random := rand.New(rand.NewPCG(1, 2))
		popular := rand.NewZipf(random, 1.1, 1, 3000)
		var recent [20]int
		var again, known, popularAsked, popularKnown int
		for i := range 5000 {
			var question int
			kind := random.IntN(3)
			switch kind {
			case 0:
				question = recent[random.IntN(len(recent))]
			case 1:
				question = int(popular.Uint64())
			case 2:
				question = 1_000_000 + i
			}
			recent[i%len(recent)] = question
			hit := ask(question)
			switch {
			case i < 1500: // until it is full
			case kind == 0:
				again++
				if hit {
					known++
				}
			case kind == 1:
				popularAsked++
				if hit {
					popularKnown++
				}
			}
		}
		if got := c.Stats(); got.Evicted == 0 || got.Bytes > 4<<20 {
			t.Fatalf("got %+v, want a full cache", got)
		}
		soon, often := float64(known)/float64(again), float64(popularKnown)/float64(popularAsked)
		t.Logf("known: %.1f%% of what is asked again soon, %.1f%% of what is popular; %+v", 100*soon, 100*often, c.Stats())
		if soon < 0.98 || often < 0.5 {
			t.Errorf("known: %.1f%% of what is asked again soon and %.1f%% of what is popular, want 98%% and 50%%", 100*soon, 100*often)
		}
	})
}

func TestFullCacheTakesInWhatIsNewIfATenthIsNeverRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, cache.Options{Size: 4 << 20, TTL: time.Hour})
		answer := cache.Entry{Value: text(strings.Repeat("x", 8<<10))}
		residents := 0
		for ; c.Stats().Evicted+c.Stats().CrowdedOut == 0; residents++ {
			c.Set(keyOf(t, residents), answer)
		}
		for i := range 2 * residents {
			if key := i / 2; key%10 != 0 {
				get(c, keyOf(t, key))
				synctest.Wait() // until that is counted
			}
		}
		const newcomers = 20
		known := 0
		for i := range newcomers {
			key := keyOf(t, residents+i)
			get(c, key)
			synctest.Wait()
			if c.Set(key, answer); get(c, key) != "nothing" {
				known++
			}
		}
		if known < newcomers*8/10 {
			t.Errorf("%d of %d are found, want 8 of 10 at least", known, newcomers)
		}
	})
}

// flood gives a cache values until they add up to total bytes, and returns the
// most that all live objects together took at a time.
func flood(tb testing.TB, c *cache.Cache[int], total, size int) (most uint64) {
	tb.Helper()
	before := live()
	buffer := []byte(strings.Repeat("x", size))
	step := max(total/size/20, 1)
	for i := range total / size {
		c.Set(keyOf(tb, i), cache.Entry{Value: text(buffer)})
		if i%step == step-1 {
			most = max(most, live()-min(before, live()))
		}
	}
	return most
}

// live is what is in use on the heap.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestMemoryStaysWithinTheSize(t *testing.T) {
	for _, f := range []struct {
		budget      int64
		total, size int
	}{
		{16 << 20, 256 << 20, 256 << 10},
		{4 << 20, 16 << 20, 1 << 10},
		{4 << 20, 200 << 10, 10}, // nothing but overhead
	} {
		c := open(t, cache.Options{Size: f.budget, TTL: time.Hour})
		most := flood(t, c, f.total, f.size)
		got := c.Stats()
		t.Logf("values of %d bytes: at most %.2f of the size in use, %+v", f.size, float64(most)/float64(f.budget), got)
		if most > uint64(f.budget)*3/2 || got.Bytes > f.budget || got.Evicted == 0 {
			t.Errorf("values of %d bytes: %d bytes in use, %+v; want at most %d", f.size, most, got, f.budget*3/2)
		}
		c.Close()
	}
}
