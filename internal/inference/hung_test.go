package inference_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/pool"
)

// oneHung makes an engine with two hosts that hold the model. The quicker one, to which
// requests would go, accepts them and never answers.
func (c *client) oneHung() (hung *backendtest.Host) {
	c.t.Helper()
	hung = backendtest.New("gpu-1").Answer("yes")
	well := backendtest.New("gpu-2").Answer("yes").FirstTokenTime(time.Second)
	c.useAll(pool.Options{Slots: 4}, hung, well)
	for range 5 {
		for _, name := range []string{"gpu-1", "gpu-2"} {
			c.succeeds("generate", `{"model":"tiny","prompt":"?","host":"`+name+`"}`)
		}
	}
	hung.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Hang })
	return hung
}

// breakerOf is the state of a host's circuit breaker.
func (c *client) breakerOf(name string) string {
	for _, host := range c.status().Hosts.Hosts {
		if host.Name == name {
			return host.Breaker
		}
	}
	return ""
}

// A call's own limit may be too short to tell a host that hangs from a slow one.
func TestHungHostIsEjectedAfterAFewTimeouts(t *testing.T) {
	for limit, most := range map[string]int{"": 6, "30": 6, "10": 6, "3": 9} {
		t.Run("limit "+limit, func(t *testing.T) {
			story(t, func(t *testing.T, c *client) {
				c.oneHung()
				failed := 0
				for n := range 30 {
					args := fmt.Sprintf(`{"model":"tiny","prompt":"call %d"`, n)
					if limit != "" {
						args += `,"timeout_seconds":` + limit
					}
					a := c.call(t.Context(), "generate", args+"}")
					switch a.code() {
					case "":
					case "timeout":
						failed++
					default:
						t.Errorf("call %d: %v", n, a)
					}
					synctest.Wait() // until the pool knows, too
				}
				if breaker := c.breakerOf("gpu-1"); failed > most {
					t.Errorf("%d of 30 calls failed, want at most %d, and the breaker is %s", failed, most, breaker)
				}
			})
		})
	}
}

func TestHungHostIsEjectedUnderManyCallers(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		hung := c.oneHung()
		before := len(hung.Calls())
		const callers, each = 8, 25
		var failed atomic.Int64
		var all sync.WaitGroup
		for caller := range callers {
			all.Go(func() {
				for n := range each {
					a := c.call(t.Context(), "generate", fmt.Sprintf(`{"model":"tiny","prompt":"call %d of %d"}`, n, caller))
					if a.err != nil {
						failed.Add(1)
					}
				}
			})
		}
		all.Wait()
		asked := len(hung.Calls()) - before
		if n := failed.Load(); n > 2*callers || asked > 2*callers {
			t.Errorf("%d of %d calls failed, and %d reached the host that hangs, want at most %d", n, callers*each, asked, 2*callers)
		}
	})
}
