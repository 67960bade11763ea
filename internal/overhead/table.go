package main

import (
	"fmt"
	"io"
	"slices"
)

// A row compares one figure.
type row struct {
	name   string
	values [contenders][]float64 // one for each round; none where the figure means nothing
}

func newRow(name string, callers int) row {
	return row{name: fmt.Sprintf("%2d at a time: %s", callers, name)}
}

func (r *row) add(who int, value float64) { r.values[who] = append(r.values[who], value) }

// ratio is our figure as a multiple of another contender's.
func (r *row) ratio(to int) float64 { return medianRatio(r.values[ours], r.values[to]) }

// medianRatio compares values round by round.
func medianRatio(values, with []float64) float64 {
	ratios := make([]float64, len(values))
	for i := range ratios {
		ratios[i] = values[i] / with[i]
	}
	return median(ratios)
}

// printTable prints the medians of the rows.
func printTable(w io.Writer, rows []row) {
	const cells = "%-50s%12s%10s%10s%10s%14s%14s\n"
	fmt.Fprintf(w, cells, "", "plain post", "posts", "streams", "ours", "ours/posts", "ours/streams")
	for _, r := range rows {
		var medians [contenders]string
		for who, values := range r.values {
			if medians[who] = "–"; len(values) > 0 {
				medians[who] = fmt.Sprintf("%.0f", median(values))
			}
		}
		fmt.Fprintf(w, cells, r.name, medians[plain], medians[posts], medians[streams], medians[ours],
			fmt.Sprintf("%.2f", r.ratio(posts)), fmt.Sprintf("%.2f", r.ratio(streams)))
	}
}

// median is the middle of values, of which there is at least one.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
