package inference_test

import (
	"testing"

	"ollama-mcp/internal/backend/backendtest"
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
