package inference_test

import (
	"testing"
	"time"

	"ollama-mcp/internal/backend/backendtest"
)

// Ollama gives up a load for want of progress, and never because it takes long.
func TestModelThatLoadsForManyMinutesAnswersInTheEnd(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Answer("at last").LoadTime(40 * time.Minute))
		const args = `{"model":"tiny","prompt":"?"}`
		for range 3 {
			c.fails("generate", args, "timeout", "it goes on loading")
			time.Sleep(13 * time.Minute)
		}
		if a := c.succeeds("generate", args); a.text != "at last" || host.Stats().Loads != 1 {
			t.Errorf("after %d loads: %+v", host.Stats().Loads, a)
		}
	})
}
