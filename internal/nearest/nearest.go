// Package nearest finds the names that somebody who made a slip may have meant.
package nearest

import (
	"cmp"
	"slices"
	"strings"
)

// Names are at most n of the known names that are near word, the nearest first.
// Near are names that a few letters turn into word, and those that contain it.
// Case is ignored.
func Names(word string, known []string, n int) []string {
	type candidate struct {
		name     string
		distance int
	}
	word = strings.ToLower(word)
	var near []candidate
	for _, name := range known {
		lower := strings.ToLower(name)
		d := distance(word, lower)
		if len(word) > 2 && strings.Contains(lower, word) {
			d = min(d, 1) // "llama3" for "llama3.2:1b"
		}
		if d <= max(1, len(word)/3) {
			near = append(near, candidate{name, d})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(len(a.name), len(b.name)))
	})
	var out []string
	for _, c := range near[:min(n, len(near))] {
		out = append(out, c.name)
	}
	return out
}

// distance counts the letters to insert, remove or replace to get from a to b
// (Levenshtein), by bytes, which is near enough for names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
