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
