package inference_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/pool"
)

// The first model of the ladder is on a slow host. Its queue is soon full, which is a reason
// to ask the second, on a host of its own.
func TestFullQueueOfTheFirstRungIsNoBarToTheSecond(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		slow := backendtest.New("slow").Answer("big").FirstTokenTime(20 * time.Second).Install(backendtest.Model{Name: "big"})
		quick := backendtest.New("quick").Answer("small").FirstTokenTime(time.Second).Install(backendtest.Model{Name: "small"})
		p := c.pool(pool.Options{Slots: 2, Queue: 8}, slow, quick)
		p.Know("slow", pool.Facts{Up: true, Installed: []string{"big:latest"}})
		p.Know("quick", pool.Facts{Up: true, Installed: []string{"small:latest"}})
		c.useHosts(p)
		for _, model := range []string{"big", "small"} {
			c.succeeds("generate", `{"model":"`+model+`","prompt":"?"}`)
		}
		const calls, callers = 200, 8
		var refused, answered atomic.Int64
		var all sync.WaitGroup
		for n := range calls {
			time.Sleep(500 * time.Millisecond) // a little more than both hosts can do
			all.Go(func() {
				who := c.who
				who.ID = fmt.Sprint("caller ", n%callers)
				a := c.as(who).call(t.Context(), "generate", fmt.Sprintf(`{"model":"big","prompt":"%d","fallback_models":["small"]}`, n))
				switch a.code() {
				case "":
					answered.Add(1)
				case "overloaded", "queue_timeout":
					refused.Add(1)
				}
			})
		}
		all.Wait()
		if n := refused.Load(); n > 5 || answered.Load() < calls-5 {
			t.Errorf("%d of %d calls were answered, and %d refused", answered.Load(), calls, n)
		}
	})
}
