// Package doctor finds problems with the hosts and the models that a configuration needs, and
// says how to solve them.
//
// It sends each host only requests that any client may send, and loads no model. It promises
// a report in a stable order, the worst first, as plain text or JSON: for each finding a level
// and what it is about, for each problem what to do next, and a verdict at the end. What the
// configuration of this program itself is worth is for the caller to find out and hand over.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/terminal"
)

// Options say what to examine.
type Options struct {
	Hosts     []backend.Backend // Ollama servers
	Providers []backend.Backend // services with another API; their models are named NAME/MODEL
	Needs     []Need            // models that the configuration names
	Findings  []Finding         // what the caller has found already

	Out   io.Writer
	Style terminal.Style
	JSON  bool // print the report as JSON
	// Timeout limits each request to a host; 0 means 10 s. It should be longer than the
	// timeout of connecting, or the two cannot be told apart.
	Timeout time.Duration
}

// Run prints what it and the caller have found. It returns false if there is a failure, such
// as a host whose models cannot be used; warnings alone do not count.
func Run(ctx context.Context, o Options) (ok bool) {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	findings := slices.Clone(o.Findings)
	stock := newStock()
	versions := make(map[string]string)
	for _, host := range o.Hosts {
		e := &examination{timeout: o.Timeout, host: host, shown: map[string]*backend.ModelInfo{}, stock: stock}
		e.examine(ctx)
		findings = append(findings, e.findings...)
		if e.hasVersion != "" {
			versions[host.Name()] = e.hasVersion
		}
	}
	findings = append(findings, comparison(versions)...)
	for _, provider := range o.Providers {
		findings = append(findings, stock.provider(ctx, provider, o.Timeout))
	}
	for _, need := range o.Needs {
		findings = append(findings, need.check(stock)...)
	}
	r := newReport(findings)
	if o.JSON {
		_ = r.writeJSON(o.Out) // the exit status says the same
	} else {
		r.write(o.Out, o.Style)
	}
	return r.Problems == 0
}

// examination is the examination of one host.
type examination struct {
	timeout    time.Duration
	host       backend.Backend
	shown      map[string]*backend.ModelInfo // results of Show by name; nil for a model that Show failed on
	stock      *stock                        // gets the models that the host has
	hasVersion string                        // of Ollama; "" if unknown
	findings   []Finding
}

func (e *examination) ok(format string, args ...any) {
	e.findings = append(e.findings, Fine(e.host.Name(), fmt.Sprintf(format, args...)))
}

func (e *examination) warn(next, format string, args ...any) {
	e.findings = append(e.findings, Warned(e.host.Name(), fmt.Sprintf(format, args...), next))
}

func (e *examination) fail(next, format string, args ...any) {
	e.findings = append(e.findings, Failed(e.host.Name(), fmt.Sprintf(format, args...), next))
}

func (e *examination) examine(ctx context.Context) {
	version, err := request(ctx, e.timeout, e.host.Version)
	if err != nil {
		e.unreachable(err)
		return
	}
	e.version(version)
	models, err := request(ctx, e.timeout, e.host.Models)
	if err != nil {
		e.unreachable(err)
		return
	}
	e.stock.answered = true
	if len(models) == 0 {
		e.fail("ollama pull llama3.2", "no model is installed")
		return
	}
	e.models(ctx, models)
	running, err := request(ctx, e.timeout, e.host.Running)
	if err != nil {
		e.unreachable(err)
		return
	}
	e.memory(ctx, running)
}

// request sends a request to a host, with a timeout.
func request[T any](ctx context.Context, timeout time.Duration, send func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return send(ctx)
}

// models examines which models are installed, and notes them.
func (e *examination) models(ctx context.Context, models []backend.Model) {
	e.ok("%s installed", fault.Count(len(models), "model"))
	all := make([][]string, len(models)) // capabilities; nil if unknown
	for i, m := range models {
		all[i] = e.capabilities(ctx, m)
		e.stock.add(m.Name, all[i])
	}
	for _, need := range []struct{ capability, lack, example string }{
		{"completion", "no model that answers in text", "llama3.2"},
		{"embedding", "no embedding model, which the tool embed needs", "nomic-embed-text"},
	} {
		lacks := func(can []string) bool { return can != nil && !slices.Contains(can, need.capability) }
		if !slices.ContainsFunc(all, func(can []string) bool { return !lacks(can) }) {
			e.warn("ollama pull "+need.example, "%s", need.lack)
		}
	}
}

// capabilities returns what a model can do; nil if the host does not tell, as Ollama did not
// before 0.6.4.
func (e *examination) capabilities(ctx context.Context, m backend.Model) (names []string) {
	can := m.Capabilities // listed since 0.30.0
	if len(can) == 0 {
		if info := e.show(ctx, m.Name); info != nil {
			can = info.Capabilities
		}
	}
	for _, c := range can {
		names = append(names, string(c))
	}
	return names
}

// show returns the description of a model; nil if the host does not give one.
func (e *examination) show(ctx context.Context, model string) *backend.ModelInfo {
	if info, ok := e.shown[model]; ok {
		return info
	}
	info, err := request(ctx, e.timeout, func(ctx context.Context) (*backend.ModelInfo, error) {
		return e.host.Show(ctx, model)
	})
	if err != nil {
		info = nil
	}
	e.shown[model] = info
	return info
}
