package inference

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
)

// ListTimeout bounds the time that hosts are given to list their models.
const ListTimeout = 10 * time.Second

// Listing is what there is to ask.
type Listing struct {
	Hosts   []HostListing // in the order of the configuration
	Aliases []Alias       // by name
}

// HostListing is what a host has.
type HostListing struct {
	Host    string
	Models  []backend.Model
	Details []Detail        // of the models, in their order
	Loaded  map[string]bool // names of the models in memory
	Cloud   map[string]bool // names of the models that the host passes on to Ollama's cloud
	Err     error           // why the host has listed nothing; nil if it has
}

// Alias is a name that stands for models.
type Alias struct {
	Name      string
	StandsFor []string // tried in this order
}

// Filter says which models are wanted. The zero Filter wants all.
type Filter struct {
	Query      string // part of the name
	Capability string // as Ollama calls it
	Host       string // only models on this host, and aliases that may stand for one
}

// List asks all hosts at the same time what they have, and leaves out what the caller may
// not use. A host that does not answer within ListTimeout has an error in its place.
func (e *Engine) List(ctx context.Context, who caller.Caller, f Filter) (Listing, error) {
	hosts, err := e.hosts(f.Host)
	if err != nil {
		return Listing{}, err
	}
	settings := e.opts.Settings()
	aliases := settings.aliases(who, f.Query)
	shown := func(model string) bool { return who.MayUse(backend.CanonicalModel(model)) && contains(model, f.Query) }
	ctx, cancel := context.WithTimeout(ctx, ListTimeout)
	defer cancel()
	all := make([]HostListing, len(hosts))
	var asked sync.WaitGroup
	for i, host := range hosts {
		asked.Go(func() {
			all[i] = e.list(ctx, host, func(model string) bool { return shown(model) || settings.standsFor(aliases, model) })
		})
	}
	asked.Wait()
	found := Listing{Hosts: all, Aliases: settings.listAliases(f, aliases, all)}
	for i := range all {
		all[i].keep(func(m backend.Model, about Detail) bool { return shown(m.Name) && about.Can(f.Capability) })
	}
	return found, nil
}

// hosts are those of that name; all of them if there is no name.
func (e *Engine) hosts(name string) ([]backend.Backend, error) {
	all := e.opts.Hosts.Hosts()
	if name == "" {
		return all, nil
	}
	names := make([]string, len(all))
	for i, host := range all {
		if host.Name() == name {
			return all[i : i+1], nil
		}
		names[i] = host.Name()
	}
	return nil, fault.Invalidf("unknown host %q; known are %s", name, strings.Join(names, ", "))
}

func (e *Engine) list(ctx context.Context, host backend.Backend, wanted func(model string) bool) HostListing {
	on := HostListing{Host: host.Name(), Loaded: make(map[string]bool), Cloud: make(map[string]bool)}
	if on.Models, on.Err = host.Models(ctx); on.Err != nil {
		return on
	}
	running, err := host.Running(ctx)
	if err != nil {
		on.Err = err
		return on
	}
	for _, r := range running {
		on.Loaded[r.Name] = true
	}
	on.Models = slices.DeleteFunc(on.Models, func(m backend.Model) bool { return !wanted(m.Name) })
	on.Details = e.details.of(ctx, host, on.Models)
	known := e.cloudModels(host.Name())
	for i, m := range on.Models {
		if backend.IsCloud(host) || backend.IsListedInCloud(m) || on.Details[i].Cloud || slices.Contains(known, backend.CanonicalModel(m.Name)) {
			on.Cloud[m.Name] = true
		}
	}
	return on
}

// cloudModels are those of a host of which it has shown, by answers perhaps, that Ollama's
// cloud runs them.
func (e *Engine) cloudModels(host string) []string {
	for _, h := range e.opts.Hosts.Stats().Hosts {
		if h.Name == host && h.Cloud != nil {
			return h.Cloud.Models
		}
	}
	return nil
}

// keep drops the models that are not wanted.
func (on *HostListing) keep(wanted func(backend.Model, Detail) bool) {
	if on.Err != nil {
		on.Models, on.Details = nil, nil
	}
	n := 0
	for i, m := range on.Models {
		if wanted(m, on.Details[i]) {
			on.Models[n], on.Details[n] = m, on.Details[i]
			n++
		}
	}
	on.Models, on.Details = on.Models[:n], on.Details[:n]
}

// listAliases are the wanted ones of some aliases. Of a host, or with a capability, those
// are wanted which stand for a listed model that has it.
func (s *Settings) listAliases(f Filter, aliases []string, all []HostListing) (found []Alias) {
	for _, name := range aliases {
		if (f.Host != "" || f.Capability != "") && !s.canStand(name, f.Capability, all) {
			continue
		}
		try := slices.Clone(s.Models[name].Try)
		for i := range try {
			try[i] = strings.TrimSuffix(try[i], ":latest")
		}
		found = append(found, Alias{strings.TrimSuffix(name, ":latest"), try})
	}
	return found
}

// canStand reports whether an alias stands for a listed model that has a capability.
func (s *Settings) canStand(alias, capability string, all []HostListing) bool {
	for _, on := range all {
		if on.Err != nil {
			continue
		}
		for i, m := range on.Models {
			if on.Details[i].Can(capability) && s.standsFor([]string{alias}, m.Name) {
				return true
			}
		}
	}
	return false
}
