package tools

import (
	"context"
	"slices"
	"sync"

	"ollama-mcp/internal/backend"
)

// listing is what a host has.
type listing struct {
	host    string
	models  []backend.Model
	details []detail        // of the models, in their order
	loaded  map[string]bool // names of those in memory
	err     error           // why there is nothing to tell; nil if there is
}

// listings are what hosts have of the models that are wanted, each host asked at the same
// time: one that hangs must not take the others' time.
func (d Deps) listings(ctx context.Context, hosts []backend.Backend, wanted func(model string) bool) []listing {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	all := make([]listing, len(hosts))
	var asked sync.WaitGroup
	for i, host := range hosts {
		asked.Go(func() { all[i] = d.list(ctx, host, wanted) })
	}
	asked.Wait()
	return all
}

func (d Deps) list(ctx context.Context, host backend.Backend, wanted func(model string) bool) listing {
	on := listing{host: host.Name(), loaded: make(map[string]bool)}
	if on.models, on.err = host.Models(ctx); on.err != nil {
		return on
	}
	running, err := host.Running(ctx)
	if err != nil {
		on.err = err
		return on
	}
	for _, r := range running {
		on.loaded[r.Name] = true
	}
	on.models = slices.DeleteFunc(on.models, func(m backend.Model) bool { return !wanted(m.Name) })
	on.details = d.details.of(ctx, host, on.models)
	return on
}
