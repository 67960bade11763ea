package pool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"ollama-mcp/internal/backend"
)

// This file is about models that a host does not run itself: an Ollama passes requests for
// them on to Ollama's cloud. Whether it does is decided for each host and model, since
// another host may run a model of the same name itself.
//
// To the pool, the part of a host that is in the cloud is a host of its own: its circuit
// breaker, its slots and its rests say nothing about the machine, nor those of the machine
// about the cloud. It is made when the first model of the host turns out to run there.

// cloudSlots is up to how many calls at once are learned for a host's part in the cloud.
const cloudSlots = 16

// CloudSlots is how many connections a host needs beside those for its slots, for the calls
// that it passes on to Ollama's cloud.
const CloudSlots = cloudSlots

// origins says where the models of a host run, by canonical name. A host and its part in
// the cloud share one. The pool's mutex guards it; a nil one says that all run there.
type origins struct {
	listed map[string]bool // the last list says that the cloud runs it
	told   map[string]bool // a description or an answer has said whether the cloud runs it
}

// isCloud reports whether requests for a model leave the host for Ollama's cloud, as far as
// is known.
func (h *host) isCloud(model string) bool {
	switch {
	case h.isAllCloud:
		return true
	case h.origins == nil || model == "":
		return false
	}
	return backend.IsCloudName(model) || h.origins.listed[model] || h.origins.told[model]
}

// learnOrigins takes in which models the cloud runs by a new list, and forgets what was
// said of those that were installed anew or are gone.
func (h *host) learnOrigins(f Facts) {
	h.origins.listed = make(map[string]bool, len(f.Cloud))
	for _, model := range f.Cloud {
		h.origins.listed[model] = true
	}
	maps.DeleteFunc(h.origins.told, func(model string, _ bool) bool {
		return !h.mayHave(model) || slices.Contains(f.Replaced, model)
	})
}

// openCloud makes the part of a host that is in the cloud, unless it is there or is the host
// given.
func (p *Pool) openCloud(h *host) {
	if h.origins == nil || h.part != nil {
		return
	}
	part := &host{
		name: h.name, backend: h.backend, most: cloudSlots, learned: true, weight: h.weight,
		origins: h.origins, isCloudPart: true, inMemory: true, part: h,
		health: newHealth(), memory: make(memory), noRoom: make(map[modelKey]refusal),
		down: h.down, version: h.version, installed: h.installed, drained: h.drained,
	}
	part.permits = newPermits(part.most)
	h.part = part
	p.hosts = append(p.hosts, part)
}

// openClouds makes what a model needs that is in the cloud by its name.
func (p *Pool) openClouds(model string) {
	if !backend.IsCloudName(model) {
		return
	}
	for _, h := range slices.Clone(p.hosts) {
		p.openCloud(h)
	}
}

// told takes in what a host has said about where it runs a model.
func (p *Pool) told(h *host, model string, cloud bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.origins == nil || model == "" {
		return
	}
	if h.origins.told == nil {
		h.origins.told = make(map[string]bool)
	}
	h.origins.told[model] = cloud
	if !cloud {
		return
	}
	p.openCloud(h)
	p.refuseUnservable()
	p.match()
}

// errInCloud is why a host is not asked for a model that it would pass on.
func errInCloud(host, model string) error {
	return &backend.Error{
		Host: host, Class: backend.Forbidden,
		Message: fmt.Sprintf("model %q runs in Ollama's cloud, and this request must not be sent to a cloud (local_only, the caller's key, or --no-cloud)", model),
	}
}

// checkOrigin returns an error if a request that may not leave would do so, before it is
// sent. Of a model of which only a list has said nothing, the host is asked first, once
// until the model is installed anew.
func (m *measured) checkOrigin(ctx context.Context, model string) error {
	l := m.lease
	key := l.key().model
	if !l.ticket.Key.localOnly || key == "" {
		return nil
	}
	m.pool.mu.Lock()
	cloud := l.host.isCloud(key)
	known := cloud
	if l.host.origins != nil && !cloud {
		_, known = l.host.origins.told[key]
	}
	m.pool.mu.Unlock()
	if !known {
		var err error
		if cloud, err = backend.RunsInCloud(ctx, m.Backend, model); err != nil {
			return err
		}
		m.pool.told(l.host, key, cloud)
	}
	if cloud {
		return errInCloud(m.Name(), key)
	}
	return nil
}

// learnOrigin takes in the cloud that an answer names, if it does. It returns an error if
// the request was not to leave.
func (m *measured) learnOrigin(remote string) error {
	l := m.lease
	if remote == "" {
		return nil
	}
	m.pool.told(l.host, l.key().model, true)
	if !l.ticket.Key.localOnly {
		return nil
	}
	m.pool.opts.Log.Warn("host passed a request on to a cloud that must not be sent to one", "host", m.Name(), "model", l.key().model)
	return &backend.Error{
		Host: m.Name(), Class: backend.Forbidden,
		Message: fmt.Sprintf("the host passed the request on to a cloud without announcing it, although the request must not be sent to one (local_only, the caller's key, or --no-cloud); it is not asked for %q again", l.key().model),
	}
}

// ofCloud marks the error of a host that had passed the request on, so that its explanation
// speaks of the account that the host has there.
func (l *Lease) ofCloud(err error) error {
	failed, ok := errors.AsType[*backend.Error](err)
	if !ok || !l.Cloud || l.host.isAllCloud { // of which we have the key ourselves
		return err
	}
	marked := *failed
	marked.Cloud = true
	return &marked
}

// CloudStats are how the part of a host does that is in Ollama's cloud.
type CloudStats struct {
	Models      []string // known to run there, by canonical name
	Well        bool
	Why         string // it is not well, or has to prove that it is; "" else
	Busy, Slots int
	Breaker     string    // "closed", "open" or "half-open"
	Until       time.Time // when an open breaker lets a call try; the zero Time when closed
}

// cloudPart is the part of a host that is in the cloud; nil if it has none, or is that part.
func (h *host) cloudPart() *host {
	if h.isCloudPart {
		return nil
	}
	return h.part
}

// cloudStats are those of a host; nil if it has no model in the cloud.
func (h *host) cloudStats(now time.Time) *CloudStats {
	part := h.part
	if h.isAllCloud {
		part = h
	}
	if part == nil {
		return nil
	}
	s := &CloudStats{
		Models: h.cloudModels(), Well: part.well(now), Busy: len(part.lent), Slots: part.slots(now),
		Breaker: part.breaker.State(now).String(), Until: part.breaker.Until(),
	}
	if why := part.why(now); why != nil {
		s.Why = why.Error()
	}
	return s
}

func (h *host) cloudModels() []string {
	models := make(map[string]bool)
	for model := range h.installed {
		models[model] = h.isCloud(model)
	}
	if h.origins != nil {
		maps.Copy(models, h.origins.listed)
		maps.Copy(models, h.origins.told)
	}
	maps.DeleteFunc(models, func(_ string, cloud bool) bool { return !cloud })
	return slices.Sorted(maps.Keys(models))
}
