package loadtest

import (
	"fmt"
	"strings"

	"ollama-mcp/internal/order"
)

// gain is how much more throughput more callers must bring to count as a gain: less is within
// what the same run gives from one time to the next.
const gain = 1.15

// verdict says in words what the rows of the last contestant, which is the pool, mean.
func (r *Report) verdict() string {
	if len(r.Rows) == 0 {
		return ""
	}
	name := r.Rows[len(r.Rows)-1].Contestant
	var rows []Row
	failed, calls := 0, 0
	for _, row := range r.Rows {
		if row.Contestant == name {
			failed, calls = failed+row.Failed, calls+row.Failed+row.Answered
			if row.Requests > 0 {
				rows = append(rows, row)
			}
		}
	}
	var said []string
	if failed > 0 {
		said = append(said, fmt.Sprintf("%d of %d calls failed: see the errors above, and `ollama-mcp doctor`.", failed, calls))
	}
	order.Stable(rows, func(a, b Row) int { return a.Callers - b.Callers })
	if len(rows) > 1 {
		said = append(said, growth(rows))
	}
	contestants := make(map[string]bool)
	for _, row := range r.Rows {
		contestants[row.Contestant] = true
	}
	if len(contestants) > 1 {
		said = append(said, "The comparison is of ways to share busy hosts: with one host and few callers no pool can be faster than a plain connection, and small differences are chance.")
	}
	return strings.Join(said, " ")
}

// growth says from which number of callers on more bring nothing. The rows are in the order of
// their callers.
func growth(rows []Row) string {
	best := rows[0]
	for _, row := range rows[1:] {
		if row.Requests > best.Requests*gain {
			best = row
		}
	}
	first, last := rows[0], rows[len(rows)-1]
	waits := fmt.Sprintf("the median answer takes %s with %s and %s with %s", span(first.Latency.P50), callers(first.Callers), span(last.Latency.P50), callers(last.Callers))
	switch {
	case best.Callers == last.Callers:
		return fmt.Sprintf("Throughput still grows at %s (%s requests/s): try more.", callers(last.Callers), figure(last.Requests))
	case best.Callers == first.Callers && first.Callers == 1:
		return fmt.Sprintf("More than one caller brings no more throughput (%s requests/s), only waiting: %s. The host seems to do one thing at a time; if it has memory to spare, set OLLAMA_NUM_PARALLEL=4 for Ollama.", figure(best.Requests), waits)
	}
	return fmt.Sprintf("The hosts are full at %s (%s requests/s); more only wait: %s.", callers(best.Callers), figure(best.Requests), waits)
}

func callers(n int) string {
	if n == 1 {
		return "1 caller"
	}
	return fmt.Sprintf("%d callers", n)
}
