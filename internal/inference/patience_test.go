package inference_test

import (
	"context"
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// Its calls are ended by us, and not by a failure or by their callers' time.
func TestHungHostIsEjectedThoughAnotherRungAnswers(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host, _ := c.ladder()
		hung := backendtest.New("gpu-2").Install(backendtest.Model{Name: "big"})
		c.useAll(pool.Options{Slots: 1}, host, hung)
		for _, name := range []string{"gpu-1", "gpu-2"} { // so that the model is in memory
			c.succeeds("generate", `{"model":"big","prompt":"?","host":"`+name+`"}`)
		}
		failing(hung, backendtest.Hang, "big")
		for range 20 {
			c.succeeds("generate", `{"model":"big","prompt":"?","fallback_models":["openai/gpt"],"timeout_seconds":30}`)
		}
		if n := len(hung.Calls()) - 1; n == 0 || n > 5 {
			t.Errorf("it was asked for %d of 20 calls, want a few", n)
		}
	})
}

// lastMinute is a pool whose answers come although the patience with their rung has ended.
type lastMinute struct{ *pool.Pool }

func (l lastMinute) With(ctx context.Context, need route.Need, use func(context.Context, *pool.Lease) error) error {
	return l.Pool.With(context.WithoutCancel(ctx), need, use)
}

// It is complete and paid for, so no other model is asked.
func TestAnswerThatArrivesAsItsPatienceEndsIsKept(t *testing.T) {
	for name, arrives := range map[string]time.Duration{
		"with the end of its share": 10 * time.Second, // of 30 s for three rungs
		"a moment later":            10*time.Second + time.Nanosecond,
		"much later":                20 * time.Second,
	} {
		story(t, func(t *testing.T, c *client) {
			host, cloud := c.ladder()
			c.useHosts(lastMinute{c.pool(pool.Options{Slots: 1}, host)})
			host.FirstTokenTime(arrives)
			began := time.Now()
			a := c.succeeds("generate", `{"model":"pro","prompt":"?","timeout_seconds":30}`)
			if a.text != "local" || a.served.Model != "big" || a.served.Passed != nil || time.Since(began) != arrives {
				t.Errorf("%s: after %v got %v, want the answer of big", name, time.Since(began), a)
			}
			if n := len(askedOf(host, "small")) + len(cloud.Calls()); n != 0 {
				t.Errorf("%s: other models were asked %d times", name, n)
			}
		})
	}
}
