// Package nearest finds the names that somebody who made a slip may have meant.
package nearest

import (
	"cmp"
	"strings"

	"ollama-mcp/internal/order"
)

// Names are at most n of the known names that are near word, the nearest first.
// Near are names that a few slips turn into word, and those that contain it.
// Case is ignored.
func Names(word string, known []string, n int) []string {
	type candidate struct {
		name     string
		distance int
	}
	word = strings.ToLower(word)
	limit := max(1, len(word)/3)
	var near []candidate
	for _, name := range known {
		lower := strings.ToLower(name)
		d := limit + 1
		if difference := len(word) - len(lower); max(difference, -difference) <= limit { // or word may be endless
			d = distance(word, lower)
		}
		if len(word) > 2 && strings.Contains(lower, word) {
			d = min(d, 1) // "llama3" for "llama3.2:1b"
		}
		if d <= limit {
			near = append(near, candidate{name, d})
		}
	}
	order.Stable(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(len(a.name), len(b.name)))
	})
	var out []string
	for _, c := range near[:min(n, len(near))] {
		out = append(out, c.name)
	}
	return out
}

// distance counts the letters to insert, remove or replace, and the neighbours to swap,
// to get from a to b (optimal string alignment), by bytes, which is near enough for names.
func distance(a, b string) int {
	var before []int // the row before last
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			replaced := last[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, row[j]+1, last[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
