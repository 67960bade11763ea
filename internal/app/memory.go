package app

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"

	"ollama-mcp/cache"
)

// tuneMemory has garbage collected less often than Go would, as long as the process stays
// within a limit: a call leaves little behind, and finding that out costs as much as some
// calls. The limit is that of a program with a cache of this size, in bytes, or half as much
// again as what is in use, if that is more: embeddings that wait to be read, or large
// messages. The variables GOGC and GOMEMLIMIT override both. stop ends the tuning.
func tuneMemory(cacheSize int64) (stop func()) {
	const percent = 400 // of what is in use; with 100 a call took a tenth more processor time
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	t := &memoryTuner{least: cache.MemoryLimit(cacheSize)}
	debug.SetMemoryLimit(t.least)
	t.rearm()
	return func() { t.stopped.Store(true) }
}

// memoryTuner sets the memory limit after each garbage collection.
type memoryTuner struct {
	least   int64 // bytes
	stopped atomic.Bool
}

// rearm has tune called after the next collection, which finds an object that nobody uses.
func (t *memoryTuner) rearm() {
	unused := new([64]byte) // smaller objects share a block, and may outlive a collection
	runtime.AddCleanup(unused, (*memoryTuner).tune, t)
}

func (t *memoryTuner) tune() {
	if t.stopped.Load() {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	inUse := int64(sample[0].Value.Uint64())
	limit := max(t.least, inUse+inUse/2)
	// Setting the limit stops the program for a moment, so small changes are left alone.
	if old := debug.SetMemoryLimit(-1); limit == t.least && old != limit || limit > old || limit < old-old/8 {
		debug.SetMemoryLimit(limit)
	}
	t.rearm()
}
