package cache_test

import (
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"ollama-mcp/cache"
)

func TestMemoryLimitKeepsTheProcessWithinHalfAsMuchAgainOrLeavesRoomForWork(t *testing.T) {
	for size, want := range map[int64]int64{
		0:         24 << 20,
		1 << 20:   25 << 20,
		128 << 20: 184 << 20,
		1 << 30:   3<<29 - 8<<20,
	} {
		if got := cache.MemoryLimit(size); got != want {
			t.Errorf("%d: got %d, want %d", size, got, want)
		}
	}
}

func TestProgramWithAFullCacheStaysWithinItsMemoryLimit(t *testing.T) {
	const size = 128 << 20
	limit := cache.MemoryLimit(size)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
	debug.FreeOSMemory() // what other tests have left
	c := open(t, cache.Options{Size: size, TTL: time.Hour})
	buffer := []byte(strings.Repeat("x", 64<<10))
	most := int64(0)
	for i := range 3 * size / len(buffer) {
		c.Set(keyOf(t, i), cache.Entry{Value: text(buffer)})
		most = max(most, taken())
	}
	if got := c.Stats(); got.Bytes < size*9/10 {
		t.Errorf("got %+v, want a full cache", got)
	}
	// Without a limit it would be twice the size. With one it is half as much again, and more
	// for a moment where garbage is not collected in time, on a machine with much else to do.
	if most > size*7/4 {
		t.Errorf("%d bytes at most, want half as much again as %d, or a little more", most, size)
	}
}

// taken is what the runtime has taken from the system and not given back: all that
// a memory limit counts.
func taken() int64 {
	of := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(of)
	return int64(of[0].Value.Uint64() - of[1].Value.Uint64())
}
