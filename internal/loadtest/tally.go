package loadtest

import (
	"sync"
	"time"

	"ollama-mcp/internal/terminal"
)

// tally is what makes up a row.
type tally struct {
	contestant Contestant
	callers    int
	calls      int // bound of the row; 0 means none
	code       func(error) string

	// Of the turns so far.
	turns   []float64 // requests answered a second in each
	elapsed time.Duration
	opened  int

	mu         sync.Mutex // guards what follows, what the callers saw; held for moments only
	latency    sample
	firstToken sample
	tokens     int
	failures   int
	errors     map[string]*Failure
}

func (t *tally) answered(took time.Duration, a Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latency.add(took)
	if a.FirstToken > 0 {
		t.firstToken.add(a.FirstToken)
	}
	t.tokens += a.Tokens
}

func (t *tally) failed(err error) {
	code := t.code(err)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failures++
	if t.errors[code] == nil {
		t.errors[code] = &Failure{Example: terminal.Printable(err.Error())}
	}
	t.errors[code].Count++
}

// counts are how many calls have been answered and have failed so far.
func (t *tally) counts() (answered, failed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.latency.seen, t.failures
}

// row sums up, between turns.
func (t *tally) row() Row {
	row := Row{
		Contestant: t.contestant.Name, Callers: t.callers, Calls: t.calls,
		Answered: t.latency.seen, Failed: t.failures, Errors: t.errors,
		Seconds: t.elapsed.Seconds(), Turns: t.turns, Latency: t.latency.times(), FirstToken: t.firstToken.times().P50,
	}
	if t.elapsed > 0 {
		row.Requests = float64(row.Answered) / row.Seconds
		row.Tokens = float64(t.tokens) / row.Seconds
	}
	if t.contestant.Opened != nil {
		row.Opened = &t.opened
	}
	return row
}
