package loadtest

import (
	"encoding/json"
	"io"
	"slices"
)

// Report is what a run has measured.
type Report struct {
	Kind         Kind     `json:"kind"`
	Models       []string `json:"models"`
	PromptTokens []int    `json:"prompt_tokens"` // about
	OutputTokens int      `json:"output_tokens,omitempty"`

	Calls    int     `json:"calls,omitempty"`            // bound of a row; 0 means none
	Duration float64 `json:"duration_seconds,omitempty"` // bound of a row; 0 means none
	Stopped  bool    `json:"stopped"`                    // early: rows with the last number of callers may be incomplete
	Rows     []Row   `json:"rows"`                       // by contestant, then by callers, both in the order given
}

// Row is how a contestant did with one number of callers.
type Row struct {
	Contestant string `json:"contestant"`
	Callers    int    `json:"callers"`
	Calls      int    `json:"calls,omitempty"` // bound of this row; 0 means none

	Answered int                 `json:"answered"`
	Failed   int                 `json:"failed"`
	Errors   map[string]*Failure `json:"errors,omitempty"` // by code

	Seconds    float64 `json:"seconds"`             // from the first request to the last response
	Requests   float64 `json:"requests_per_second"` // that were answered
	Tokens     float64 `json:"tokens_per_second"`
	Latency    Times   `json:"latency_ms"`
	FirstToken float64 `json:"first_token_p50_ms,omitempty"` // 0 if there was none
	Opened     *int    `json:"connections_opened,omitempty"` // nil if nobody counts

	// Turns are the requests a second that were answered in each round. Contestants
	// compare best by the median over rounds, which one disturbed round does not move.
	Turns []float64 `json:"-"`
}

// Times sum up how long answers took, in milliseconds.
type Times struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
}

// Failure is a kind of error.
type Failure struct {
	Count   int    `json:"count"`
	Example string `json:"example"` // the words of the first
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// levels are the numbers of callers that there are rows for, in order.
func (r *Report) levels() []int {
	var all []int
	for _, row := range r.Rows {
		all = append(all, row.Callers)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
