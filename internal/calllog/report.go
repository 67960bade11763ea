package calllog

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/order"
	"ollama-mcp/internal/table"
)

// Report sums up call logs. Use NewReport to make one.
type Report struct {
	Calls      int            `json:"calls"`
	Failed     int            `json:"failed"`
	From       time.Time      `json:"from,omitzero"`
	To         time.Time      `json:"to,omitzero"`
	Dropped    uint64         `json:"dropped"`    // calls that the log says it has no lines of
	Unreadable int            `json:"unreadable"` // lines that are none of a call log
	Codes      map[string]int `json:"codes"`      // failed calls by the code of the error
	Models     []Group        `json:"models"`
	Hosts      []Group        `json:"hosts"`
	Slowest    []Line         `json:"slowest"`
	Failures   []Line         `json:"failures"` // the last ones

	top           int
	since         time.Time
	models, hosts map[string]*group
}

// Group sums up the calls of a model or a host. Times are those of calls that a model has
// answered: answers from the cache are left out, and failed calls.
type Group struct {
	Name            string  `json:"name"`
	Calls           int     `json:"calls"`
	Failed          int     `json:"failed"`
	Cached          int     `json:"cached"` // answered from the cache, or by the answer to an identical call
	OutputTokens    int     `json:"output_tokens"`
	P50             int64   `json:"p50_ms"`
	P90             int64   `json:"p90_ms"`
	P99             int64   `json:"p99_ms"`
	Max             int64   `json:"max_ms"`
	FirstToken      int64   `json:"first_token_p50_ms"`
	TokensPerSecond float64 `json:"tokens_per_second_p50"`
}

type group struct {
	Group
	latencies, firsts []int64
	speeds            []float64
}

// NewReport makes a report that has the top slowest calls and the last top failures, and
// leaves out calls that began before since.
func NewReport(top int, since time.Time) *Report {
	return &Report{
		Codes: make(map[string]int), Slowest: []Line{}, Failures: []Line{}, top: top, since: since,
		models: make(map[string]*group), hosts: make(map[string]*group),
	}
}

// maxLine bounds a line, in bytes: prompts and answers may be in it.
const maxLine = 256 << 20

// Read adds the lines of a file. Those that are none of a call log are counted.
func (r *Report) Read(from io.Reader) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var l struct {
			Line
			Content json.RawMessage `json:"content"` // is not looked at, and takes the name from that of Line
		}
		switch err := json.Unmarshal(lines.Bytes(), &l); {
		case len(strings.TrimSpace(lines.Text())) == 0:
		case err != nil, l.Time.IsZero(), l.Dropped == nil && (l.Tool == "" || l.Performance == nil):
			r.Unreadable++
		case l.Time.Before(r.since):
		case l.Dropped != nil:
			r.Dropped += l.Dropped.BufferFull + l.Dropped.Disk
		default:
			r.add(l.Line)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line is longer than %s: this is no call log", table.Size(maxLine))
	}
	return lines.Err()
}

func (r *Report) add(l Line) {
	r.Calls++
	if r.From.IsZero() || l.Time.Before(r.From) {
		r.From = l.Time
	}
	if l.Time.After(r.To) {
		r.To = l.Time
	}
	if l.Error != nil {
		r.Failed++
		r.Codes[l.Error.Code]++
		r.Failures = keep(r.Failures, l, r.top, func(a, b Line) int { return b.Time.Compare(a.Time) })
	}
	r.Slowest = keep(r.Slowest, l, r.top, func(a, b Line) int { return cmp.Compare(b.Performance.Latency, a.Performance.Latency) })
	switch {
	case l.Response != nil:
		groupOf(r.models, l.Response.Model).add(&l)
		if l.Response.Host != "" {
			groupOf(r.hosts, l.Response.Host).add(&l)
		}
	case l.Request != nil:
		groupOf(r.models, l.Request.Model).add(&l)
	}
}

// keep adds a line to the first n of an order.
func keep(first []Line, l Line, n int, order func(a, b Line) int) []Line {
	at, _ := slices.BinarySearchFunc(first, l, order)
	if at >= n {
		return first
	}
	first = slices.Insert(first, at, l)
	return first[:min(n, len(first))]
}

func groupOf(all map[string]*group, name string) *group {
	g, known := all[name]
	if !known {
		g = &group{Group: Group{Name: name}}
		all[name] = g
	}
	return g
}

func (g *group) add(l *Line) {
	g.Calls++
	if l.Error != nil {
		g.Failed++
		return
	}
	if l.Response == nil {
		return
	}
	if l.Response.Source != "local" && l.Response.Source != "cloud" {
		g.Cached++
		return
	}
	g.OutputTokens += l.Response.OutputTokens
	g.latencies = append(g.latencies, l.Performance.Latency)
	if l.Response.OutputTokens > 0 {
		g.firsts = append(g.firsts, l.Performance.Queue+l.Performance.Lost+l.Performance.FirstToken)
	}
	if l.Performance.TokensPerSecond > 0 {
		g.speeds = append(g.speeds, l.Performance.TokensPerSecond)
	}
}

// Finish computes what depends on all lines: Models and Hosts.
func (r *Report) Finish() {
	r.Models, r.Hosts = finish(r.models), finish(r.hosts)
}

func finish(all map[string]*group) []Group {
	groups := []Group{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		g := all[name]
		slices.Sort(g.latencies)
		slices.Sort(g.firsts)
		slices.Sort(g.speeds)
		g.P50, g.P90, g.P99, g.Max = percentile(g.latencies, 50), percentile(g.latencies, 90), percentile(g.latencies, 99), percentile(g.latencies, 100)
		g.FirstToken, g.TokensPerSecond = percentile(g.firsts, 50), percentile(g.speeds, 50)
		groups = append(groups, g.Group)
	}
	order.Stable(groups, func(a, b Group) int { return cmp.Compare(b.Calls, a.Calls) })
	return groups
}

// percentile is the least of some sorted values that p percent of them do not exceed; 0 of none.
func percentile[T any](sorted []T, p float64) (value T) {
	if len(sorted) == 0 {
		return value
	}
	return sorted[max(0, int(math.Ceil(p/100*float64(len(sorted))))-1)]
}

// Print prints a report for people to read.
func (r *Report) Print(w io.Writer) {
	if r.Calls == 0 {
		fmt.Fprintln(w, "no calls")
	} else {
		fmt.Fprintf(w, "%d calls from %s to %s, %d failed\n", r.Calls, shown(r.From), shown(r.To), r.Failed)
	}
	if r.Dropped > 0 {
		fmt.Fprintf(w, "%d more have no line, since they came faster than lines could be written, or the disk failed\n", r.Dropped)
	}
	if r.Unreadable > 0 {
		fmt.Fprintf(w, "%d lines are none of a call log, or were cut off\n", r.Unreadable)
	}
	for _, groups := range []struct {
		head string
		all  []Group
	}{{"MODEL", r.Models}, {"HOST", r.Hosts}} {
		t := table.Table{Head: []string{groups.head, ">CALLS", ">FAILED", ">CACHED", ">P50", ">P90", ">P99", ">MAX", ">FIRST TOKEN", ">TOKENS/S"}}
		for _, g := range groups.all {
			t.Row(g.Name, g.Calls, table.Grouped(g.Failed), table.Grouped(g.Cached), ms(g.P50), ms(g.P90), ms(g.P99), ms(g.Max), ms(g.FirstToken), speed(g.TokensPerSecond))
		}
		t.Print(w, false)
	}
	slowest := table.Table{Head: []string{"SLOWEST", "TOOL", "CALLER", "MODEL", "HOST", ">TOOK", ">QUEUE", ">LOST", ">LOAD", ">FIRST TOKEN", ">TOKENS", "CACHE", "ERROR", "TRACE"}}
	for _, l := range r.Slowest {
		model, host, tokens := l.served()
		p := l.Performance
		slowest.Row(shown(l.Time), l.Tool, l.Caller, model, host, ms(p.Latency), ms(p.Queue), ms(p.Lost), ms(p.Load), ms(p.FirstToken), table.Grouped(tokens), l.Cache, l.code(), l.Trace)
	}
	slowest.Print(w, false)
	failures := table.Table{Head: []string{"LAST FAILED", "TOOL", "CALLER", "MODEL", "HOST", ">TOOK", "ERROR", "TRACE", "REASON"}}
	for _, l := range r.Failures {
		model, host, _ := l.served()
		failures.Row(shown(l.Time), l.Tool, l.Caller, model, host, ms(l.Performance.Latency), l.code(), l.Trace, l.Error.Message)
	}
	failures.Print(w, false)
	codes := table.Table{Head: []string{"ERROR", ">CALLS"}}
	for _, code := range slices.SortedFunc(maps.Keys(r.Codes), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.Codes[b], r.Codes[a]), cmp.Compare(a, b))
	}) {
		codes.Row(code, r.Codes[code])
	}
	codes.Print(w, false)
}

// served is what answered a call, or was asked for.
func (l *Line) served() (model, host string, tokens int) {
	switch {
	case l.Response != nil:
		return l.Response.Model, l.Response.Host, l.Response.OutputTokens
	case l.Request != nil:
		return l.Request.Model, "", 0
	}
	return "", "", 0
}

func (l *Line) code() string {
	if l.Error == nil {
		return ""
	}
	return l.Error.Code
}

func shown(at time.Time) string { return at.Local().Format("2006-01-02 15:04:05") }

// ms is a time in milliseconds for people to read; "" for 0, which means unknown or none.
func ms(n int64) string {
	switch d := time.Duration(n) * time.Millisecond; {
	case n == 0:
		return ""
	case d < time.Second:
		return fmt.Sprintf("%d ms", n)
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return table.Span(d)
	}
}

func speed(perSecond float64) string {
	if perSecond == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f", perSecond)
}
