package table_test

import (
	"testing"
	"time"

	"ollama-mcp/internal/table"
)

func TestQuantitiesAreReadable(t *testing.T) {
	for want, got := range map[string]string{
		"0 B": table.Size(0), "999 B": table.Size(999), "1.0 kB": table.Size(1000), "9.9 kB": table.Size(9949), "10 kB": table.Size(9950), "398 MB": table.Size(397821319),
		"1.0 GB": table.Size(999_999_999), "2.0 GB": table.Size(2019393189), "43 GB": table.Size(42520395873), "2000 TB": table.Size(2e15),
		"": table.Grouped(0), "12": table.Grouped(12), "512": table.Grouped(512), "4,096": table.Grouped(4096), "1,048,576": table.Grouped(1 << 20),
		"0 s": table.Span(0), "1 s": table.Span(time.Second), "1 min": table.Span(time.Minute), "4 min 30 s": table.Span(270 * time.Second),
		"1 h 5 min": table.Span(65 * time.Minute), "2 d 3 h": table.Span(51*time.Hour + time.Minute), "1 h": table.Span(3599600 * time.Millisecond),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
