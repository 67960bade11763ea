package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"ollama-mcp/internal/inference"
)

// labels are all labels that the numbers of a call have.
type labels struct {
	called
	tool, errorType string
	code            string
	http            inference.HTTPRequest
	status, rung    int

	// Of a call that asks a model.
	caller, source string
	isFresh        bool // a model was at work for it
}

// called are the labels of a call that asks a model.
type called struct{ operation, provider, requested, served string }

// series are the time series of calls that have the same labels, so that Prometheus' library looks
// each up once, and not for each call. Those that no call has counted in are nil.
type series struct {
	errors, ladder                                    prometheus.Counter
	calls, seconds, tokensIn, tokensOut               prometheus.Counter // of a caller
	modelIn, modelOut                                 prometheus.Counter // tokens
	operation, request, load, firstToken, outputToken prometheus.Observer
}

// maxSeries bounds how many are remembered. More labels than are in use at a time would be.
const maxSeries = 5000

// Done implements inference.Observer.
func (m *Metrics) Done(r inference.Record) {
	l := m.labelsOf(&r)
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.series[l]
	if s == nil {
		if len(m.series) >= maxSeries {
			clear(m.series)
		}
		s = new(series)
		m.series[l] = s
	}
	if l.code != "" {
		m.add(&s.errors, callErrors, 1, l.tool, l.code)
	}
	if l.http.Route != "" {
		m.observe(&s.operation, httpDuration, r.Took.Seconds(), l.http.Method, l.http.Route, strconv.Itoa(l.status), l.http.Scheme, l.errorType)
	} else {
		method, tool := inference.Method(l.tool)
		m.observe(&s.operation, operationDuration, r.Took.Seconds(), method, tool, l.errorType, m.opts.Transport)
	}
	if r.Served.Requested == "" {
		return
	}
	m.countUsage(&r, &l, s)
	if l.code != "" || l.isFresh {
		m.observe(&s.request, requestDuration, r.Took.Seconds(), l.operation, l.provider, l.requested, l.served, l.code)
	}
	if l.rung > 0 && l.code == "" {
		m.add(&s.ladder, ladderAnswers, 1, l.requested, strconv.Itoa(l.rung))
	}
	if l.isFresh {
		m.countAnswer(&r, &l, s)
	}
}

// countAnswer counts what a model has done for a call.
func (m *Metrics) countAnswer(r *inference.Record, l *labels, s *series) {
	by := &r.Served
	if by.TokensIn > 0 {
		m.add(&s.modelIn, inputTokens, float64(by.TokensIn), l.operation, l.provider, l.requested, l.served)
	}
	if by.TokensOut > 0 {
		m.add(&s.modelOut, outputTokens, float64(by.TokensOut), l.operation, l.provider, l.requested, l.served)
	}
	if by.Load != nil && *by.Load > 0 {
		m.observe(&s.load, modelLoad, float64(*by.Load)/1000, l.served)
	}
	if l.code != "" {
		return
	}
	if by.TokensOut > 0 {
		m.observe(&s.firstToken, firstTokenTime, float64(by.ToFirstToken())/1000, l.operation, l.provider, l.requested, l.served)
	}
	if by.TokensPerSecond > 0 {
		m.observe(&s.outputToken, outputTokenTime, 1/by.TokensPerSecond, l.operation, l.provider, l.requested, l.served)
	}
}

// countUsage counts a call for its caller.
func (m *Metrics) countUsage(r *inference.Record, l *labels, s *series) {
	m.add(&s.calls, usageCalls, 1, l.caller, l.served, l.source)
	m.add(&s.seconds, usageSeconds, r.Took.Seconds(), l.caller, l.served, l.source)
	if r.Served.TokensIn > 0 {
		m.add(&s.tokensIn, usageTokens, float64(r.Served.TokensIn), l.caller, l.served, l.source, "in")
	}
	if r.Served.TokensOut > 0 {
		m.add(&s.tokensOut, usageTokens, float64(r.Served.TokensOut), l.caller, l.served, l.source, "out")
	}
}

// observe adds a value to one of a histogram's series, which it looks up if that was not done before.
func (m *Metrics) observe(one *prometheus.Observer, of id, value float64, labels ...string) {
	if *one == nil {
		*one = m.histograms[of].WithLabelValues(labels...)
	}
	(*one).Observe(value)
}

// add adds to one of a counter's series, as observe does.
func (m *Metrics) add(one *prometheus.Counter, of id, n float64, labels ...string) {
	if *one == nil {
		*one = m.counters[of].WithLabelValues(labels...)
	}
	(*one).Add(n)
}
