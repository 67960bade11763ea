package loadtest

import (
	"strings"
	"testing"
)

func rowsOf(requests ...float64) (rows []Row) {
	for i, n := range requests {
		rows = append(rows, Row{Contestant: "pool", Callers: 1 << i, Requests: n, Answered: 10, Latency: Times{P50: 100 * float64(int(1)<<i)}})
	}
	return rows
}

func TestVerdictSaysWhatTheFiguresMean(t *testing.T) {
	failing := rowsOf(10, 20)
	failing[1].Failed = 3
	compared := append([]Row{{Contestant: "one connection", Callers: 1, Requests: 9}}, rowsOf(10, 30)...)
	for _, c := range []struct {
		name, want string
		rows       []Row
	}{
		{"one thing at a time", "OLLAMA_NUM_PARALLEL", rowsOf(24, 24.5, 23)},
		{"chance is no gain", "OLLAMA_NUM_PARALLEL", rowsOf(24, 26, 25)},
		{"full at two", "full at 2 callers (48.0 requests/s)", rowsOf(24, 48, 49)},
		{"small steps add up", "still grows", rowsOf(10, 11, 12.5, 14.5)},
		{"growing", "still grows at 4 callers (90.0 requests/s)", rowsOf(24, 48, 90)},
		{"failures", "3 of 23 calls failed", failing},
		{"a comparison", "ways to share busy hosts", compared},
		{"a row alone", "", rowsOf(24)},
		{"nothing", "", nil},
		{"none answered", "", []Row{{Contestant: "pool", Callers: 1}, {Contestant: "pool", Callers: 2}}},
	} {
		r := Report{Rows: c.rows}
		got := r.verdict()
		if !strings.Contains(got, c.want) || (c.want == "") != (got == "") {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
