package metrics

import (
	"strings"
	"sync"

	"ollama-mcp/internal/inference"
)

// other is the label of all values that have none of their own.
const other = "other"

const (
	maxValues = 500 // of a label, beside other; a provider may serve models of any name
	maxLength = 128 // of a value, in bytes
	maxRung   = 20  // that is told from those below it
)

// bounded makes labels of names that callers and hosts choose. Names that are not known to
// exist share one label, and so do all beyond the first maxValues, so that nobody can fill
// the memory of this server, or of Prometheus, with names. It is safe for concurrent use.
type bounded struct {
	known func(string) bool // nil knows every name

	mu   sync.Mutex // guards what follows
	seen map[string]bool
}

// of is the label of a name. exists says that the name is known to be that of something,
// whatever known says.
func (b *bounded) of(name string, exists bool) string {
	if !exists && b.known != nil && !b.known(name) {
		return other
	}
	name = clean(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.seen[name]:
		return name
	case len(b.seen) >= maxValues:
		return other
	case b.seen == nil:
		b.seen = make(map[string]bool)
	}
	b.seen[name] = true
	return name
}

// clean makes a label of any text. Prometheus' library escapes what has to be escaped, and
// refuses bytes that are no UTF-8.
func clean(text string) string {
	if len(text) > maxLength {
		text = text[:maxLength]
	}
	return strings.ToValidUTF8(text, "")
}

// localCaller stands for the user of this machine: on stdio without a name, and over HTTP without
// a key, where package server adds the name of the client if it says one.
const localCaller = "local"

func (m *Metrics) caller(id string) string {
	if id == "" {
		return localCaller
	}
	label := m.callers.of(id, false)
	if first, _, _ := strings.Cut(id, " "); label == other && first == localCaller {
		return localCaller
	}
	return label
}

// labelsOf are the labels of a call.
func (m *Metrics) labelsOf(r *inference.Record) labels {
	s := &r.Served
	l := labels{tool: r.Tool, errorType: r.ErrorType(), code: string(r.Code), http: r.HTTP, status: r.Status}
	if s.Requested == "" {
		return l
	}
	l.caller, l.source, l.rung = m.caller(r.Caller), r.Origin(), min(s.Rung, maxRung)
	l.isFresh = s.Source == inference.Local || s.Source == inference.Cloud
	l.called = called{operation: operation(r.Tool), provider: "ollama", served: other}
	switch name, ofHost := strings.CutPrefix(s.Model, s.Host+"/"); {
	case s.Model == "":
	case s.Host != "" && name != "" && ofHost: // a host of that name is a provider
		l.provider, l.served = clean(s.Host), m.models.of(s.Model, r.Code == "")
	default:
		l.served = m.models.of(canonical(s.Model), r.Code == "")
	}
	if l.requested = l.served; s.Requested != s.Model {
		l.requested = m.models.of(canonical(s.Requested), false)
	}
	return l
}

// operation is what OpenTelemetry calls the work of a tool. Tools that it has no word for
// have their own name.
func operation(tool string) string {
	switch tool {
	case "generate":
		return "text_completion"
	case "embed":
		return "embeddings"
	}
	return tool
}
