package cache_test

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"ollama-mcp/cache"
)

// BenchmarkTenGigabytes gives a cache of 64 MiB answers of 10 GB under the limit that the
// program sets, and reports the most memory that the process had, all that it is included.
// Run it alone: what other tests have taken counts too.
func BenchmarkTenGigabytes(b *testing.B) {
	const size = 64 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(cache.MemoryLimit(size)))
	for _, answer := range []int{8 << 10, 64 << 10} {
		b.Run(strconv.Itoa(answer>>10)+"KB", func(b *testing.B) {
			for b.Loop() {
				c := open(b, cache.Options{Size: size, TTL: time.Hour})
				buffer := []byte(strings.Repeat("x", answer))
				for i := range 10_000_000_000 / answer {
					c.Set(keyOf(b, i), cache.Entry{Value: text(buffer)})
				}
				c.Close()
			}
			b.ReportMetric(mostResident(b)/size, "resident/size")
		})
	}
}

// mostResident is how many bytes of memory the process had at most.
func mostResident(tb testing.TB) float64 {
	tb.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	line, _, _ = strings.Cut(line, " kB")
	kilobytes, err := strconv.ParseFloat(strings.TrimSpace(line), 64)
	if err != nil {
		tb.Fatal(err)
	}
	return kilobytes * 1024
}
