package tools

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/pool"
)

// warmth remembers which models have answered of late, so that a wait for the
// first token is called by its likely name. It is a guess for people to read:
// asking the host on every call would cost more than it tells.
type warmth struct {
	last    sync.Map // host and model → time.Time of the last answer
	loading sync.Map // host and model that finishLoading is at work on → chan struct{}, closed at its end
}

// warmFor is how long Ollama keeps a model in memory unless it is told otherwise.
const warmFor = 5 * time.Minute

func (w *warmth) answered(host, model string) { w.last.Store([2]string{host, model}, time.Now()) }

// is reports whether the model is probably in the host's memory.
func (w *warmth) is(host, model string) bool {
	last, ok := w.last.Load([2]string{host, model})
	return ok && time.Since(last.(time.Time)) < warmFor
}

// doing is what a host probably does first when it is asked.
func (w *warmth) doing(host, model string) string {
	if w.is(host, model) {
		return "reading the prompt on " + host
	}
	return fmt.Sprintf("loading %s on %s", model, host)
}

// longestLoad is longer than any load takes. It ends what Ollama itself does not: a load
// that makes no progress is given up there, after five minutes unless its operator says
// otherwise.
const longestLoad = time.Hour

// finishLoading has a host load a model although the call that needed it has run
// out of time. Ollama gives up loading when the caller leaves, so a model that
// takes longer to load than a call may would never be loaded at all. It reports
// whether the model is being loaded.
func (d Deps) finishLoading(w work) bool {
	host, model := w.host, w.rung.Model
	if d.Background == nil || w.rung.Provider != "" || d.isLoaded(host.Name(), model) {
		return false
	}
	key, loaded := [2]string{host.Name(), model}, make(chan struct{})
	if _, already := d.warm.loading.LoadOrStore(key, loaded); already {
		return true
	}
	d.Background(func(ctx context.Context) {
		defer close(loaded)
		defer d.warm.loading.Delete(key)
		ctx, cancel := context.WithTimeout(ctx, longestLoad)
		defer cancel()
		// An empty prompt loads the model, and nothing else.
		_, err := host.Generate(ctx, &backend.GenerateRequest{
			Model: w.m.model, Options: w.m.options, KeepAlive: w.m.keepAlive,
		}, nil)
		if err != nil {
			d.Log.Info("model not loaded after its call had ended", "model", model, "error", err)
			return
		}
		d.warm.answered(host.Name(), model)
	})
	return true
}

// isLoaded reports whether a model is believed to be in a host's memory. It takes longer
// than to ask warmth alone.
func (d Deps) isLoaded(host, model string) bool {
	return d.warm.is(host, model) || slices.ContainsFunc(d.Hosts.Stats().Hosts, func(h pool.HostStats) bool {
		return h.Name == host && slices.Contains(h.Loaded, model)
	})
}

// isLoading reports whether finishLoading is at work on a model, on any host.
func (w *warmth) isLoading(model string) (loading bool) {
	w.loading.Range(func(key, _ any) bool {
		loading = key.([2]string)[1] == model
		return !loading
	})
	return loading
}

// awaitLoading returns when finishLoading is not, or no more, at work on a model.
// A call that went ahead might become the one that the host loads for, and make
// it give up again when its own time is over.
func (w *warmth) awaitLoading(ctx context.Context, host, model string) error {
	loaded, ok := w.loading.Load([2]string{host, model})
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
