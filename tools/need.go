package tools

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/progress"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// priority is whose turn comes first: "interactive", which is "", or "batch".
type priority string

// need is what a request for a model asks of the pool.
func (d Deps) need(who caller.Caller, p *progress.Reporter, model string, args modelArgs, bytes int) route.Need {
	n := route.Need{
		Model: backend.CanonicalModel(model), Host: args.Host,
		Runner: runnerOptions(args.Options), RawRunner: d.RawRunner,
		Caller: who.ID, Bytes: int64(bytes),
		OnWait: p.Queued, OnRetry: p.Retrying,
	}
	if args.Priority == "batch" {
		n.Priority = route.Batch
	}
	return n
}

// isRunnerOption tells the options that the runner of a model is started with, and
// that make Ollama load it anew if they differ (needsReload in its server/sched.go).
var isRunnerOption = map[string]bool{
	"num_ctx": true, "num_batch": true, "num_gpu": true, "main_gpu": true, "use_mmap": true, "num_thread": true,
}

func runnerOptions(asked options) map[string]any {
	var runner map[string]any
	for name, value := range asked {
		if isRunnerOption[name] {
			if runner == nil {
				runner = make(map[string]any)
			}
			runner[name] = value
		}
	}
	return runner
}

// mannerOf is how a question is first put to the host of a lease.
func (d Deps) mannerOf(q question, rung route.Rung, lease *pool.Lease) manner {
	m := manner{
		model: rung.Model, options: leased(q.args.Options, lease), keepAlive: d.keepAlive(rung.Model, q.args.modelArgs),
		context: lease.Context, mayCut: d.ContextGuard == "off" && q.args.Truncate == nil,
	}
	switch {
	case rung.Provider != "":
		m.keepAlive = nil
	case backend.CanonicalModel(q.model) == rung.Model:
		m.model = q.model // as its caller calls it
	default:
		m.model = rung.String()
	}
	return m
}

// keepAlive is how long a model is to stay in memory; nil leaves it to the host.
func (d Deps) keepAlive(model string, args modelArgs) *backend.Duration {
	if args.KeepAlive != nil {
		return args.KeepAlive.value()
	}
	if set := d.settings().Models[backend.CanonicalModel(model)].KeepAlive; set != nil {
		return &backend.Duration{Duration: *set}
	}
	return nil
}

// leased are the options to send with a lease: what the caller asked for, but for
// the runner options, on which the pool has decided.
func leased(asked options, lease *pool.Lease) options {
	sent := make(options, len(asked)+len(lease.Runner))
	for name, value := range asked {
		if !isRunnerOption[name] {
			sent[name] = value
		}
	}
	maps.Copy(sent, lease.Runner)
	return sent
}

// overridden says which options of the caller's have other values: those that are pinned,
// or those that the model is loaded with.
func overridden(lease *pool.Lease) string {
	pinned := make([]string, 0, len(lease.Overridden))
	for _, name := range slices.Sorted(slices.Values(lease.Overridden)) {
		pinned = append(pinned, fmt.Sprintf("%s %v", name, lease.Runner[name]))
	}
	return "The model runs with " + strings.Join(pinned, ", ") + " for all callers, so that it is not loaded anew for each."
}
