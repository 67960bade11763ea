package workers_test

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"ollama-mcp/internal/workers"
)

// goroutine is the number of the goroutine that calls it.
func goroutine() string {
	stack := make([]byte, 64)
	stack = stack[:runtime.Stack(stack, false)]
	return strings.Fields(string(stack))[1]
}

func TestGoroutineThatWaitsRunsTheNextFunction(t *testing.T) {
	for _, c := range []struct {
		spare int
		reuse bool
	}{{0, false}, {1, true}} {
		synctest.Test(t, func(t *testing.T) {
			var g workers.Group
			done := make(chan struct{})
			g.Keep(c.spare, done)
			var on [2]string
			for i := range on {
				g.Go(func() { on[i] = goroutine() })
				synctest.Wait()
			}
			if reused := on[0] == on[1]; reused != c.reuse {
				t.Errorf("%d are kept: the second function ran on goroutine %s, the first on %s", c.spare, on[1], on[0])
			}
			close(done)
			g.Wait()
		})
	}
}

func TestFunctionNeverWaitsForAnotherToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g workers.Group
		done, release := make(chan struct{}), make(chan struct{})
		g.Keep(1, done)
		started := 0
		for range 10 {
			g.Go(func() { started++; <-release })
			synctest.Wait()
		}
		if started != 10 {
			t.Errorf("%d of 10 functions have started while none has ended", started)
		}
		close(release)
		close(done)
		g.Wait()
	})
}

func TestZeroGroupKeepsNoGoroutine(t *testing.T) {
	synctest.Test(t, func(*testing.T) { // which fails if one is left
		var g workers.Group
		g.Go(func() {})
		g.Wait()
	})
}
