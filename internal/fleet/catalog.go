package fleet

import (
	"context"
	"slices"
	"strings"
	"time"

	"ollama-mcp/internal/backend"
)

// catalog says which models the hosts have installed, as the pool was told. It is replaced
// as a whole, and never changed.
type catalog struct {
	hosts   map[string]*list  // by name; nil for a host that has not listed its models yet
	digests map[string]string // by canonical model, of all hosts together
	// defaults are what the hosts of a model do where a request leaves an option open; see
	// backend.Defaults.
	defaults map[string]string
}

// publish replaces the catalog. hasChanged says that more than lists may have, such as the hosts. If
// the lists say the same as before, as they mostly do, only they are replaced. It is called with mu held.
func (f *Fleet) publish(hasChanged bool) {
	older := f.catalog.Load()
	c := &catalog{hosts: make(map[string]*list), digests: older.digests, defaults: older.defaults}
	for t := range f.tasks {
		if m, isHost := t.(*member); isHost {
			l, was := m.models.Load(), older.hosts[m.name]
			c.hosts[m.name] = l
			hasChanged = hasChanged || l != was && (l == nil || was == nil || l.contents != was.contents)
		}
	}
	if hasChanged {
		f.gather(c)
	}
	f.catalog.Store(c)
}

// gather sets what a catalog says of the models of all hosts together.
func (f *Fleet) gather(c *catalog) {
	c.digests, c.defaults = make(map[string]string), make(map[string]string)
	all, defaults := make(map[string][]string), make(map[string][]string) // by model
	for t := range f.tasks {
		m, isHost := t.(*member)
		if !isHost {
			continue
		}
		l := c.hosts[m.name]
		if l == nil {
			continue
		}
		for model, digest := range l.digests {
			if !slices.Contains(all[model], digest) {
				all[model] = append(all[model], digest)
			}
			if own := m.defaults(); !slices.Contains(defaults[model], own) {
				defaults[model] = append(defaults[model], own)
			}
		}
	}
	for model, digests := range all {
		slices.Sort(digests)
		c.digests[model] = strings.Join(digests, " ")
		slices.Sort(defaults[model])
		c.defaults[model] = strings.Join(defaults[model], ", ")
	}
}

// MayHave reports whether a host has listed a model, or has listed nothing yet. model is a
// canonical name; "" is a model that every host has. host is the name of the host, or ""
// for any. It asks nobody.
func (f *Fleet) MayHave(model, host string) bool {
	for name, l := range f.catalog.Load().hosts {
		if host != "" && name != host {
			continue
		}
		if l == nil || model == "" || l.has(model) {
			return true
		}
	}
	return false
}

// has reports whether a host has listed a model, in a list that is not in the older catalog
// too. The other arguments are those of MayHave.
func (c *catalog) has(model, host string, older *catalog) bool {
	for name, l := range c.hosts {
		if l != nil && l != older.hosts[name] && (host == "" || name == host) && l.has(model) {
			return true
		}
	}
	return false
}

// firstPoll limits how long Digest waits for hosts that have not been polled yet.
const firstPoll = time.Second

// Digest tells models apart that have had the same name: it changes when another model has
// been installed under the name, on any host. It is "" for a model that no host has
// listed. A model pulled since the last list, up to 30 s ago, does not show yet. Before the
// first poll of each host has ended, Digest waits for that, though for no more than a
// second, and counts as a Touch.
func (f *Fleet) Digest(ctx context.Context, model string) string {
	if digest := f.catalog.Load().digests[model]; digest != "" {
		return digest
	}
	ctx, cancel := context.WithTimeout(ctx, firstPoll)
	defer cancel()
	_ = f.Ready(ctx) // hosts that take longer have listed nothing yet
	return f.catalog.Load().digests[model]
}

// Has reports whether a host has listed a model, given by its canonical name. It asks nobody.
func (f *Fleet) Has(model string) bool { return f.catalog.Load().digests[model] != "" }

// Listed is a model as a host last listed it; not ok if it has not. model is a canonical name. It
// asks nobody.
func (f *Fleet) Listed(host, model string) (m backend.Model, ok bool) {
	if l := f.catalog.Load().hosts[host]; l != nil {
		if i, ok := l.at[model]; ok {
			return l.models[i], true
		}
	}
	return m, false
}

// Defaults tells apart what the hosts of a model do where a request leaves an option open,
// which changes with the version of Ollama; see backend.Defaults. It asks nobody.
func (f *Fleet) Defaults(model string) string { return f.catalog.Load().defaults[model] }

const (
	// findTimeout limits how long a call waits for lists of models.
	findTimeout = 2 * time.Second
	// findInterval is the time between two such lists of a host, so that calls for a
	// model that no host has, a name with a typing error or the first choice of a ladder,
	// do not all ask every host.
	findInterval = time.Second
)

// Find asks the hosts for fresh lists of their models, tells the pool, and reports whether
// one of them has the model. Its arguments are those of MayHave. It is for a call whose
// model no host is known to have: the model may have been pulled since the last poll.
//
// Calls at the same time share one list of each host, all hosts are asked at the same time,
// and Find returns as soon as the model is found, and after 2 s at the latest. Hosts whose
// last poll failed, or whose list is less than a second old, are not asked.
func (f *Fleet) Find(ctx context.Context, model, host string) bool {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	older := f.catalog.Load()
	looks := f.look(host)
	_ = f.await(ctx, func() bool {
		return f.catalog.Load().has(model, host, older) || !slices.ContainsFunc(looks, (*look).isOpen)
	})
	return f.catalog.Load().has(model, host, new(catalog))
}

// look is a request for a list of models that Find has begun. The fleet's mutex guards it.
type look struct{ done bool }

func (l *look) isOpen() bool { return !l.done }

// look returns the requests for lists that are under way, and begins those that are due, of
// the host of that name or of all hosts if there is no name.
func (f *Fleet) look(host string) (looks []*look) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.life.Err() != nil {
		return nil
	}
	for t := range f.tasks {
		m, isHost := t.(*member)
		if !isHost || host != "" && m.name != host {
			continue
		}
		if m.look == nil && !m.silent && overdue(m.looked, findInterval) {
			l := new(look)
			m.look, m.looked = l, wallTime()
			f.looks.Go(func() { m.lookNow(f.life, l) })
		}
		if m.look != nil {
			looks = append(looks, m.look)
		}
	}
	return looks
}

// lookNow asks the host for a list of its models, passes it on, and ends the look. It is
// nobody's call that asks: who leaves must not spoil the answer for the others.
func (m *member) lookNow(ctx context.Context, l *look) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	if models, err := m.list(ctx); err == nil {
		m.report(Facts{Up: true}, models)
	}
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	l.done, m.look = true, nil
	f.publish(false)
	f.tell()
}
