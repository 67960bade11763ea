package cache_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-mcp/cache"
)

var answer8K = strings.Repeat("an answer of eight kilobytes\n\n\n\n", 256)

func BenchmarkHitOf8KB(b *testing.B) {
	c := open(b, cache.Options{Size: 64 << 20, TTL: time.Hour})
	key := keyOf(b, "question")
	c.Set(key, cache.Entry{Value: text(answer8K)})
	b.ReportAllocs()
	for b.Loop() {
		if _, source, _ := c.Fetch(b.Context(), cache.Lookup{Key: key, Policy: cache.Auto}, 0, nil, nil); source != cache.Hit {
			b.Fatal(source)
		}
	}
}

func BenchmarkParallelHitsOf8KB(b *testing.B) {
	c := open(b, cache.Options{Size: 64 << 20, TTL: time.Hour})
	keys := make([]cache.Key, 256)
	for i := range keys {
		keys[i] = keyOf(b, i)
		c.Set(keys[i], cache.Entry{Value: text(answer8K)})
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, ok := c.Get(keys[i%len(keys)]); !ok {
				b.Fatal("not found")
			}
		}
	})
}

// BenchmarkMiss is what the cache adds to a call that it cannot answer: a fill
// that takes no time, with the answer kept, and without a cache.
func BenchmarkMiss(b *testing.B) {
	for _, policy := range []cache.Policy{cache.Auto, cache.Off} {
		b.Run(string(policy), func(b *testing.B) {
			c := open(b, cache.Options{Size: 256 << 20, TTL: time.Hour})
			keys := make([]cache.Key, 1<<14)
			for i := range keys {
				keys[i] = keyOf(b, i)
			}
			fill := func(context.Context, cache.Waiters) (cache.Entry, bool, error) {
				return cache.Entry{Value: text(answer8K)}, true, nil
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i++; i%len(keys) == 0 {
					b.StopTimer()
					c.Clear()
					b.StartTimer()
				}
				if _, source, _ := c.Fetch(b.Context(), cache.Lookup{Key: keys[i%len(keys)], Policy: policy}, 0, nil, fill); source != cache.Miss {
					b.Fatal(source)
				}
			}
		})
	}
}

// BenchmarkThousandCallers has 1,000 callers ask the same at once, of whom one fills.
func BenchmarkThousandCallers(b *testing.B) {
	c := open(b, cache.Options{Size: 64 << 20, TTL: time.Hour})
	fill := func(context.Context, cache.Waiters) (cache.Entry, bool, error) {
		return cache.Entry{Value: text(answer8K)}, true, nil
	}
	rounds := 0
	for b.Loop() {
		key := keyOf(b, rounds)
		rounds++
		var callers sync.WaitGroup
		for range 1000 {
			callers.Go(func() { _, _, _ = c.Fetch(b.Context(), cache.Lookup{Key: key, Policy: cache.Auto}, 0, nil, fill) })
		}
		callers.Wait()
	}
	b.ReportMetric(float64(c.Stats().Misses)/float64(rounds), "fills/op")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rounds)/1000, "ns/caller")
}

func BenchmarkKeyOf8KB(b *testing.B) {
	for name, request := range map[string]any{
		"text":    map[string]any{"prompt": answer8K, "options": map[string]any{"temperature": 0, "num_ctx": 8192}},
		"schemas": map[string]any{"format": json.RawMessage("[" + strings.Repeat(`{"type": "object", "maximum": 1.50, "title": "a\/b"},`, 155) + "{}]")},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := cache.KeyOf(cache.Scope{Model: "qwen3:8b"}, request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
