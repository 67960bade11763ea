package app

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"ollama-mcp/cache"
)

// A limit below what is in use would have garbage collected all the time.
func TestMemoryLimitIsNeverBelowWhatIsInUse(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	const cacheSize, other = 1 << 20, 64 << 20
	stop := tuneMemory(cacheSize)
	defer func() {
		stop()
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(math.MaxInt64)
	}()
	least := cache.MemoryLimit(cacheSize)
	if limit := debug.SetMemoryLimit(-1); limit != least {
		t.Errorf("at the start the limit is %d, want %d", limit, least)
	}
	inUse := make([]byte, other)
	awaitLimit(t, func(limit int64) bool { return limit >= other+other/2 })
	runtime.KeepAlive(inUse)
	inUse = nil
	awaitLimit(t, func(limit int64) bool { return limit == least })
}

// awaitLimit collects garbage until the limit is as it should be.
func awaitLimit(t *testing.T, right func(limit int64) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !right(debug.SetMemoryLimit(-1)); runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatalf("the limit is %d", debug.SetMemoryLimit(-1))
		}
	}
}
