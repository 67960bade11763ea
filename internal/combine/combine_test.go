package combine_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/combine"
)

func TestValuesThatComeDuringARequestShareTheNext(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		delays := rapid.SliceOfN(rapid.IntRange(0, 3000), 1, 40).Draw(r, "arrivals in µs")
		synctest.Test(t, func(t *testing.T) {
			const takes = time.Millisecond
			var g combine.Group[int]
			var mu sync.Mutex
			asked, underway := make(map[int]int), 0
			ask := func(all []int) {
				mu.Lock()
				underway++
				if underway > 1 {
					t.Error("two requests are under way")
				}
				mu.Unlock()
				time.Sleep(takes)
				mu.Lock()
				defer mu.Unlock()
				underway--
				for _, v := range all {
					asked[v]++
				}
			}
			var calls sync.WaitGroup
			for i, delay := range delays {
				calls.Go(func() {
					time.Sleep(time.Duration(delay) * time.Microsecond)
					began := time.Now()
					g.Do(i, ask)
					if d := time.Since(began); d > 2*takes {
						t.Errorf("a value waited %v, longer than two requests", d)
					}
					mu.Lock()
					defer mu.Unlock()
					if asked[i] != 1 {
						t.Errorf("a value was part of %d requests when its call returned, want 1", asked[i])
					}
				})
			}
			calls.Wait()
		})
	})
}
