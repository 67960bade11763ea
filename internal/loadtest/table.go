package loadtest

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// WriteTable writes the report as a table for people.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s\n\n", r.title(), r.extent())
	name := 0
	for _, row := range r.Rows {
		name = max(name, len([]rune(row.Contestant)))
	}
	// Connections are a column only where somebody counts them.
	counted := slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Opened != nil })
	connections := func(text string) string {
		if !counted {
			return ""
		}
		return fmt.Sprintf("%17s", text)
	}
	const cells = "%-*s%9s%9s%12s%10s%10s%10s%10s%10s%13s%s  %s\n"
	fmt.Fprintf(&b, cells, name, "", "callers", "answers", "requests/s", "tokens/s",
		"mean", "p50", "p95", "p99", "first token", connections("new connections"), "errors")
	for _, row := range r.Rows {
		opened := "–"
		if row.Opened != nil {
			opened = fmt.Sprint(*row.Opened)
		}
		l := row.Latency
		fmt.Fprintf(&b, cells, name, row.Contestant, fmt.Sprint(row.Callers), fmt.Sprint(row.Answered),
			figure(row.Requests), known(row.Tokens), span(l.Mean), span(l.P50), span(l.P95), span(l.P99), span(row.FirstToken),
			connections(opened), row.failures())
	}
	r.notes(&b)
	if words := r.verdict(); words != "" && !r.Stopped {
		fmt.Fprintf(&b, "\n%s\n", words)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// title names the kind of requests and the models.
func (r *Report) title() string {
	return fmt.Sprintf("%s with %s", r.Kind, strings.Join(r.Models, ", "))
}

// extent tells the sizes of requests, and how many were made.
func (r *Report) extent() string {
	sizes := make([]string, len(r.PromptTokens))
	for i, n := range r.PromptTokens {
		sizes[i] = fmt.Sprint(n)
	}
	requests := fmt.Sprintf("about %s tokens in", strings.Join(sizes, ", "))
	if r.OutputTokens > 0 {
		requests += fmt.Sprintf(", at most %d out", r.OutputTokens)
	}
	var bounds []string
	if r.Calls > 0 {
		bounds = append(bounds, fmt.Sprintf("%d calls", r.Calls))
	}
	if r.Duration > 0 {
		bounds = append(bounds, time.Duration(r.Duration*float64(time.Second)).String())
	}
	return requests + "; " + strings.Join(bounds, " or ") + " for each number of callers"
}

// notes say below the table what its figures leave out.
func (r *Report) notes(b *strings.Builder) {
	var lines []string
	for _, row := range r.Rows {
		if row.Calls < r.Calls && row.Requests > 0 {
			all := time.Duration(float64(r.Calls) / row.Requests * float64(time.Second)).Round(time.Second)
			lines = append(lines, fmt.Sprintf("%s made %d calls, not %d: at its rate, all would take %v.",
				row.Contestant, row.Calls, r.Calls, all))
		}
		for _, code := range slices.Sorted(maps.Keys(row.Errors)) {
			line := fmt.Sprintf("%s: %s", code, row.Errors[code].Example)
			if !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	if r.Stopped {
		lines = append(lines, "Stopped early: rows with the last number of callers may be incomplete.")
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "\n%s\n", strings.Join(lines, "\n"))
	}
}

// failures says how many calls failed, and how.
func (r *Row) failures() string {
	if r.Failed == 0 {
		return "0"
	}
	var kinds []string
	for _, code := range slices.Sorted(maps.Keys(r.Errors)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", r.Errors[code].Count, code))
	}
	return strings.Join(kinds, ", ")
}

// span is a time in milliseconds for people; 0 is none.
func span(ms float64) string {
	switch {
	case ms == 0:
		return "–"
	case ms < 999.5:
		return figure(ms) + " ms"
	}
	return figure(ms/1000) + " s"
}

// known is a figure; 0 is one that nobody knows, or none.
func known(x float64) string {
	if x == 0 {
		return "–"
	}
	return figure(x)
}

// figure is a number with three digits that count, or more where it is large.
func figure(x float64) string {
	switch {
	case x < 9.995:
		return fmt.Sprintf("%.2f", x)
	case x < 99.95:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}
