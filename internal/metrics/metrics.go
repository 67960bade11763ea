// Package metrics counts what calls do, and serves the numbers to Prometheus.
//
// It promises that nothing is measured twice: what happens to calls comes from the engine's
// observer, and the state of hosts, queue and caches from their own counters, which are read
// when somebody asks for the metrics. A call is not delayed by a scrape, labels have few
// values whatever callers send, and every metric is named in names.go. Who may read the
// metrics is left to package server.
package metrics

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/jobs"
	"ollama-mcp/pool"
)

// Options say where the numbers come from. All functions are called concurrently, and must
// do no input or output. Nil ones leave their metrics out.
type Options struct {
	Version   string
	Transport string // of the calls: "pipe" or "tcp"
	// Status is the state of hosts, queue and caches, as an administrator sees it.
	Status    func() inference.Status
	Providers func() map[string]pool.Stats
	// Dropped is how many calls are missing in the call log, by reason.
	Dropped func() (bufferFull, disk uint64)
	// Jobs are the jobs of this server.
	Jobs func() jobs.Counts
	// Keys are the keys of callers.
	Keys func() []Key
	// HasModel reports whether a model or an alias exists, by its canonical name, and HasCaller
	// whether a caller is configured. What they do not know is counted as "other".
	HasModel  func(name string) bool
	HasCaller func(id string) bool
}

// Key is the key of a caller: what it has used today, what it may use in a day, and when it
// expires. Zero means no limit.
type Key struct {
	Caller                                   string
	Calls, CallsPerDay, Tokens, TokensPerDay int
	Expires                                  time.Time
}

// Metrics are the numbers. Use New to make them. They implement inference.Watcher.
type Metrics struct {
	opts            Options
	registry        *prometheus.Registry
	reading         sync.Mutex // held while the state of the program is read: dozens of scrapes at once take turns
	models, callers bounded

	histograms [familyCount]*prometheus.HistogramVec
	counters   [familyCount]*prometheus.CounterVec
	queueWait  prometheus.Observer

	mu     sync.Mutex         // guards what follows, and is not held by a scrape
	series map[labels]*series // that calls have counted in, by their labels
}

// New makes the metrics of a program. It starts nothing.
func New(o Options) *Metrics {
	m := &Metrics{opts: o, registry: prometheus.NewRegistry(), models: bounded{known: o.HasModel}, callers: bounded{known: o.HasCaller}, series: make(map[labels]*series)}
	for i, f := range families {
		if slices.Contains(ofState, id(i)) {
			continue
		}
		switch f.kind {
		case histogram:
			m.histograms[i] = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.name, Help: f.help, Buckets: f.buckets}, f.labels)
			m.registry.MustRegister(m.histograms[i])
		case counter:
			m.counters[i] = prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.name, Help: f.help}, f.labels)
			m.registry.MustRegister(m.counters[i])
		}
	}
	m.queueWait = m.histograms[queueWait].WithLabelValues()
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &state{m})
	return m
}

// Handler serves the metrics in Prometheus' format for text, which every scraper takes.
func (m *Metrics) Handler() http.Handler { return http.HandlerFunc(m.serve) }

func (m *Metrics) serve(w http.ResponseWriter, req *http.Request) {
	families, err := m.registry.Gather() // all that can be told, even if one of the metrics is at fault
	if err != nil && len(families) == 0 {
		http.Error(w, "the metrics cannot be read: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Vary", "Accept-Encoding")
	to := io.Writer(w)
	if takesGzip(req.Header) {
		w.Header().Set("Content-Encoding", "gzip")
		packed := gzip.NewWriter(w)
		defer packed.Close()
		to = packed
	}
	page := bufio.NewWriter(to)
	defer page.Flush()
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(page, f); err != nil {
			return // nobody is left to be told
		}
	}
}

// takesGzip reports whether a client may be answered in gzip.
func takesGzip(h http.Header) bool {
	for part := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		coding, weight, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			_, q, given := strings.Cut(weight, "=")
			return !given || strings.Trim(q, " 0.") != ""
		}
	}
	return false
}

// Begin implements inference.Watcher.
func (m *Metrics) Begin(*inference.CallInfo) inference.Wants { return inference.Attempts }

// Event implements inference.Watcher.
func (m *Metrics) Event(e inference.Event) {
	switch e.Kind {
	case inference.Granted:
		m.queueWait.Observe(e.Wait.Seconds())
	case inference.Retried:
		m.counters[retries].WithLabelValues(reason(e.Err)).Inc()
	case inference.LadderChanged:
		m.counters[ladderChanges].WithLabelValues(m.models.of(canonical(e.Model), false), string(e.To)).Inc()
	}
}

// Refused counts what was refused before it reached a tool. reason is one of few words.
func (m *Metrics) Refused(reason string) { m.counters[refusals].WithLabelValues(reason).Inc() }

// reason says in a word why an attempt has failed.
func reason(err error) string {
	class := backend.ClassOf(err)
	if class == "" {
		return other
	}
	return strings.ReplaceAll(strings.TrimPrefix(string(class), "the "), " ", "_")
}

// canonical is the name under which a model is counted.
func canonical(name string) string { return backend.CanonicalModel(name) }

func goVersion() string {
	return fmt.Sprintf("%s %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
