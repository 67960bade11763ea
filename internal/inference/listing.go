package inference

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
)

// The time that a host is given to list its models, of which a host that is not well has less if
// others are well, since a listing waits for the slowest host.
const (
	listTimeout    = 10 * time.Second
	illListTimeout = 2 * time.Second
)

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
	Limit   time.Duration   // time that the host was given
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
// not use. A host that does not answer in time has an error in its place.
func (e *Engine) List(ctx context.Context, who caller.Caller, f Filter) (Listing, error) {
	hosts, err := e.hosts(f.Host)
	if err != nil {
		return Listing{}, err
	}
	settings := e.opts.Settings()
	aliases := settings.aliases(who, f.Query)
	shown := func(model string) bool { return who.MayUse(backend.CanonicalModel(model)) && contains(model, f.Query) }
	all := make([]HostListing, len(hosts))
	ill := e.IllHosts()
	var asked sync.WaitGroup
	for i, host := range hosts {
		limit := listTimeout
		if slices.Contains(ill, host.Name()) {
			limit = illListTimeout
		}
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			all[i] = e.list(ctx, host, func(model string) bool { return shown(model) || settings.standsFor(aliases, model) })
			all[i].Limit = limit
		})
	}
	asked.Wait()
	found := Listing{Hosts: all, Aliases: settings.listAliases(f, aliases, all)}
	for i := range all {
		all[i].keep(func(m backend.Model, about Detail) bool { return shown(m.Name) && about.Can(f.Capability) })
	}
	return found, nil
}

// IllHosts are the names of the hosts that are not well, if others are. Who asks all hosts something does not wait for
// these as long as for the others.
func (e *Engine) IllHosts() (ill []string) {
	all := e.opts.Hosts.Stats().Hosts
	for _, h := range all {
		if !h.Well {
			ill = append(ill, h.Name)
		}
	}
	if len(ill) == len(all) {
		return nil
	}
	return ill
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

// details remembers what models can do. It follows from a model's digest, so a host is
// asked for it once.
type details struct{ byDigest sync.Map } // string → Detail

// Detail is what a model can do.
type Detail struct {
	Capabilities []string // as Ollama calls them; nil if it does not say
	Context      int      // tokens that the model was trained for; 0 if not known
	Cloud        bool     // Ollama's cloud runs it
}

// Can reports whether a model has a capability; all have "".
func (d Detail) Can(capability string) bool {
	return capability == "" || slices.Contains(d.Capabilities, capability)
}

// isNotFor reports whether it is known what a model can do, and a capability is not among it.
func (d Detail) isNotFor(capability string) bool {
	return len(d.Capabilities) > 0 && !d.Can(capability)
}

// known is what is remembered of a model; nothing if it was not asked for.
func (k *details) known(digest string) Detail {
	known, ok := k.byDigest.Load(digest)
	if !ok {
		return Detail{}
	}
	return known.(Detail)
}

// remember keeps what a model can do. One without a digest is not kept.
func (k *details) remember(digest string, d Detail) {
	if digest != "" {
		k.byDigest.Store(digest, d)
	}
}

// detail is what a model can do on a host, which may have another model of that name than others
// have. The host is only asked for a model of which its list does not say it, and that is not
// yet known by the digest in the list.
func (e *Engine) detail(ctx context.Context, host backend.Backend, model string) (Detail, error) {
	var digest string
	if e.opts.Listed != nil {
		if m, ok := e.opts.Listed(host.Name(), backend.CanonicalModel(model)); ok {
			digest = m.Digest
			if d, complete := listed(m); complete {
				e.details.remember(digest, d)
				return d, nil
			}
		}
	}
	return e.details.show(ctx, host, model, digest)
}

// of are the details of models. A host before 0.30.0 does not list them, and is asked for a
// few at a time. Those of a model that it cannot show are empty.
func (k *details) of(ctx context.Context, host backend.Backend, models []backend.Model) []Detail {
	all := make([]Detail, len(models))
	var group errgroup.Group
	group.SetLimit(8)
	for i, m := range models {
		if listed, ok := listed(m); ok {
			all[i] = listed
			k.remember(m.Digest, listed)
			continue
		}
		group.Go(func() error {
			all[i], _ = k.show(ctx, host, m.Name, m.Digest) // listed without
			return nil
		})
	}
	_ = group.Wait()
	return all
}

// listed are the details of a model by its host's list; not ok if the list does not have
// them.
func listed(m backend.Model) (d Detail, ok bool) {
	for _, c := range m.Capabilities {
		d.Capabilities = append(d.Capabilities, string(c))
	}
	d.Context, d.Cloud = m.Details.ContextLength, backend.IsListedInCloud(m)
	return d, len(d.Capabilities) > 0 && d.Context > 0
}

// show asks the host for a model, unless it is known. One without a digest never is.
func (k *details) show(ctx context.Context, host backend.Backend, model, digest string) (Detail, error) {
	if known, ok := k.byDigest.Load(digest); ok {
		return known.(Detail), nil
	}
	info, err := host.Show(ctx, model)
	if err != nil {
		return Detail{}, err
	}
	found := Detail{Cloud: backend.IsDescribedInCloud(info)}
	for _, c := range info.Capabilities {
		found.Capabilities = append(found.Capabilities, string(c))
	}
	if length, ok := info.ModelInfo[fmt.Sprintf("%v.context_length", info.ModelInfo["general.architecture"])].(float64); ok {
		found.Context = int(length)
	}
	k.remember(digest, found)
	return found, nil
}
