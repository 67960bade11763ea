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
		if json.Unmarshal(raw, &numbers) != nil {
			vectors.Row(i, "in base64")
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
