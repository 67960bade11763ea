package call

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

func TestLineOfWhatServedLeavesOutWhatThereIsNot(t *testing.T) {
	for served, want := range map[string]string{
		`{"host":"a","model":"m","tokens_in":5,"tokens_out":42,"tokens_per_second":21.06,"total_ms":2100}`: "m on a: 5 tokens in, 42 out, 21.1/s, 2.1 s\n",
		`{"host":"a","model":"m","tokens_in":9,"total_ms":17.4}`:                                           "m on a: 9 tokens in, 17 ms\n",
		`{"host":"a","model":"m"}`:             "m on a\n",
		`{"host":"","model":"m","total_ms":1}`: "",
	} {
		result := new(mcp.CallToolResult)
		result.Meta = &mcp.Meta{AdditionalFields: map[string]any{"ollama-mcp/served": json.RawMessage(served)}}
		var got bytes.Buffer
		if printServed(&got, result); got.String() != want {
			t.Errorf("%s: got %q, want %q", served, got.String(), want)
		}
	}
}

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
