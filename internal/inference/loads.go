package inference

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/pool"
)

// loads remembers which models have answered recently, so that a wait for the first token
// is called by its likely name, and which are being loaded although the call that needed
// them is over. The first is a guess for people to read: a request to the host on every
// call would cost more than it tells.
type loads struct {
	last    sync.Map // hostModel → time.Time of the last answer
	pending sync.Map // hostModel that finishLoading is at work on → chan struct{}, closed at its end
}

type hostModel struct{ host, model string }

// warmFor is how long Ollama keeps a model in memory unless it is told otherwise.
const warmFor = 5 * time.Minute

func (l *loads) answered(host, model string) {
	l.last.Store(hostModel{host, model}, time.Now().Round(0)) // by the wall clock: Ollama goes on while a laptop sleeps, or sleeps with it
}

// isWarm reports whether the model is probably in the host's memory.
func (l *loads) isWarm(host, model string) bool {
	last, ok := l.last.Load(hostModel{host, model})
	return ok && time.Since(last.(time.Time)) < warmFor
}

// maxLoad is longer than any load takes. It ends what Ollama itself does not: a load that
// makes no progress is given up there, after five minutes unless its operator says
// otherwise.
const maxLoad = time.Hour

// finishLoading has a host load a model although the call that needed it has run out of
// time. Ollama gives up loading when the caller leaves, so a model that takes longer to
// load than a call may would never be loaded at all. It reports whether the model is being
// loaded.
func (e *Engine) finishLoading(a *attempt) bool {
	key := hostModel{a.host.Name(), a.rung.Model}
	if a.rung.Provider != "" || a.known.served.Source == Cloud || e.life.Err() != nil || e.isLoaded(key) {
		return false
	}
	// The host as it is, and not as it was lent: the lease may be over.
	hosts, err := e.hosts(key.host)
	if err != nil { // it was removed
		return false
	}
	options := maps.Clone(a.params.options)
	if a.params.context != 0 { // the host has chosen the context itself
		delete(options, "num_ctx")
	}
	loaded := make(chan struct{})
	if _, already := e.loads.pending.LoadOrStore(key, loaded); already {
		return true
	}
	e.background.Go(func() {
		defer close(loaded)
		defer e.loads.pending.Delete(key)
		ctx, cancel := context.WithTimeout(e.life, maxLoad)
		defer cancel()
		// There is nothing to load of a model in Ollama's cloud, and the call may have ended
		// before it was known to be one.
		inCloud, err := backend.RunsInCloud(ctx, hosts[0], a.params.model)
		if inCloud {
			return
		}
		if err == nil {
			// An empty prompt loads the model, and does nothing else.
			_, err = hosts[0].Generate(ctx, &backend.GenerateRequest{
				Model: a.params.model, Options: options, KeepAlive: a.params.keepAlive,
			}, nil)
		}
		if err != nil {
			e.opts.Log.Info("model not loaded after its call had ended", "model", key.model, "host", key.host, "error", err)
			return
		}
		e.loads.answered(key.host, key.model)
	})
	return true
}

// isLoaded reports whether a model is believed to be in a host's memory. It takes longer
// than isWarm alone.
func (e *Engine) isLoaded(key hostModel) bool {
	return e.loads.isWarm(key.host, key.model) || slices.ContainsFunc(e.opts.Hosts.Stats().Hosts, func(h pool.HostStats) bool {
		return h.Name == key.host && slices.Contains(h.Loaded, key.model)
	})
}

// isLoading reports whether finishLoading is at work on a model, on any host.
func (l *loads) isLoading(model string) (loading bool) {
	l.pending.Range(func(key, _ any) bool {
		loading = key.(hostModel).model == model
		return !loading
	})
	return loading
}

// await returns when finishLoading is not, or no more, at work on a model. A call that
// went ahead might become the one that the host loads for, and make it give up again when
// its own time is over.
func (l *loads) await(ctx context.Context, host, model string) error {
	loaded, ok := l.pending.Load(hostModel{host, model})
	if !ok {
		return nil
	}
	select {
	case <-loaded.(chan struct{}):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
