//go:build !race

package calllog_test

import (
	"testing"

	"ollama-mcp/internal/calllog"
)

// The race detector has encoding/json forget memory that it keeps for the next line.
func TestLineTakesHardlyAnyMemory(t *testing.T) {
	log := calllog.New(calllog.Options{Waiting: 1})
	r := answered
	r.Asked = r.Asked.WithoutTexts()
	if n := testing.AllocsPerRun(1000, func() { log.Done(r) }); n > 0 {
		t.Errorf("%v allocations for a call", n)
	}
}
