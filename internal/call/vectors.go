package call

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"ollama-mcp/internal/table"
)

// embeddings is the result of embed, as far as it is printed.
type embeddings struct {
	Model      string            `json:"model"`
	Count      int               `json:"count"`
	Dimensions int               `json:"dimensions"`
	Vectors    []json.RawMessage `json:"vectors"`
	URI        string            `json:"uri"`
	Errors     []struct {
		Index   int    `json:"index"`
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"errors"`
}

// failure says why the text at an index has no vector.
func (e *embeddings) failure(index int) string {
	for _, failed := range e.Errors {
		if failed.Index == index {
			return strings.Map(table.Printable, failed.Message+" ["+failed.Code+"]")
		}
	}
	return "for a reason that is not told"
}

// firstNumbers is how many numbers of a vector are printed.
const firstNumbers = 5

func printVectors(w io.Writer, out *embeddings, _ time.Time) {
	fmt.Fprintf(w, "%s: %d of %d numbers each (--json prints all)\n", strings.Map(table.Printable, out.Model), out.Count, out.Dimensions)
	if out.URI != "" {
		fmt.Fprintf(w, "in the resource %s\n", strings.Map(table.Printable, out.URI))
	}
	vectors := table.Table{Head: []string{">#", "FIRST NUMBERS"}}
	for i, raw := range out.Vectors {
		var numbers []float64
		switch err := json.Unmarshal(raw, &numbers); {
		case err != nil:
			vectors.Row(i, "in base64")
			continue
		case numbers == nil:
			vectors.Row(i, "failed: "+out.failure(i))
			continue
		}
		var first []string
		for _, n := range numbers[:min(firstNumbers, len(numbers))] {
			first = append(first, fmt.Sprintf("%8.4f", n))
		}
		more := ""
		if len(numbers) > firstNumbers {
			more = " …"
		}
		vectors.Row(i, strings.Join(first, " ")+more)
	}
	vectors.Print(w, false)
}
