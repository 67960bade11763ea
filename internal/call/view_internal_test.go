package call

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

func TestTablesAreAsInTestdata(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	results, err := filepath.Glob("testdata/*.json")
	if err != nil || len(results) == 0 {
		t.Fatalf("no results: %v", err)
	}
	for _, result := range results {
		structured, err := os.ReadFile(result)
		if err != nil {
			t.Fatal(err)
		}
		tool := "status"
		if strings.Contains(result, "models") {
			tool = "list-models"
		}
		var got bytes.Buffer
		if err := views[tool](&got, structured, now); err != nil {
			t.Errorf("%s: %v", result, err)
			continue
		}
		file := strings.TrimSuffix(result, ".json") + ".txt"
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s is out of date: run go test ./internal/call -update and read the difference; got\n%s", file, got.Bytes())
		}
		if strings.ContainsRune(got.String(), '\x1b') {
			t.Errorf("%s: an escape sequence of the host reaches the terminal", result)
		}
	}
}

func TestQuantitiesAreReadable(t *testing.T) {
	for want, got := range map[string]string{
		"0 B": size(0), "999 B": size(999), "1.0 kB": size(1000), "9.9 kB": size(9949), "10 kB": size(9950), "398 MB": size(397821319),
		"1.0 GB": size(999_999_999), "2.0 GB": size(2019393189), "43 GB": size(42520395873), "2000 TB": size(2e15),
		"": grouped(0), "12": grouped(12), "512": grouped(512), "4,096": grouped(4096), "1,048,576": grouped(1 << 20),
		"0 s": span(0), "1 s": span(time.Second), "1 min": span(time.Minute), "4 min 30 s": span(270 * time.Second),
		"1 h 5 min": span(65 * time.Minute), "2 d 3 h": span(51*time.Hour + time.Minute), "1 h": span(3599600 * time.Millisecond),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
