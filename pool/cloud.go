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
// breaker, slots and rests say nothing about the machine, nor do those of the machine say
// anything about the cloud. It is created when the first model of the host turns out to run there.

// cloudSlots is the largest number of slots that is learned for a host's part in the cloud.
const cloudSlots = 16

// CloudSlots is the number of connections that a host needs in addition to those for its slots,
// for calls that it passes on to Ollama's cloud.
const CloudSlots = cloudSlots

// origins records where the models of a host run, by canonical name. A host and its part in
// the cloud share one, which the pool's mutex guards. It is nil for a host whose models all run
// in one place.
type origins struct {
	listed   map[string]bool // models that the cloud runs, according to the last list
	reported map[string]bool // whether the cloud runs it, according to a description or an answer
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
	return backend.IsCloudName(model) || h.origins.listed[model] || h.origins.reported[model]
}

// learnOrigins records which models the cloud runs according to a new list, and forgets what is
// known of models that were reinstalled or removed.
func (h *host) learnOrigins(f Facts) {
	h.origins.listed = make(map[string]bool, len(f.Cloud))
	for _, model := range f.Cloud {
		h.origins.listed[model] = true
	}
	maps.DeleteFunc(h.origins.reported, func(model string, _ bool) bool {
		return !h.mayHave(model) || slices.Contains(f.Replaced, model)
	})
}

// openCloud creates the part of a host that is in the cloud, unless it exists or the host is one.
func (p *Pool) openCloud(h *host) {
	if h.origins == nil || h.part != nil {
		return
	}
	part := &host{
		name: h.name, backend: h.backend, most: cloudSlots, learned: true, weight: h.weight,
		origins: h.origins, isCloudPart: true, inMemory: true, part: h,
		health: newHealth(), memory: make(memory), noRoom: make(map[modelKey]lackOfRoom),
		down: h.down, version: h.version, installed: h.installed, drained: h.drained,
	}
	part.permits = newPermits(part.most)
	h.part = part
	p.setHosts(append(p.hosts, part))
}

// openClouds creates the cloud part of every host if the name of a model says that it runs in
// the cloud.
func (p *Pool) openClouds(model string) {
	if !backend.IsCloudName(model) {
		return
	}
	for _, h := range slices.Clone(p.hosts) {
		p.openCloud(h)
	}
}

// learnOrigin records what a host has said about where it runs a model.
func (p *Pool) learnOrigin(h *host, model string, cloud bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.origins == nil || model == "" {
		return
	}
	if h.origins.reported == nil {
		h.origins.reported = make(map[string]bool)
	}
	h.origins.reported[model] = cloud
	p.changes++
	if !cloud {
		return
	}
	p.openCloud(h)
	p.refuseUnservable()
	p.match()
}

// errInCloud is the error of a request that may not leave for the cloud, and that the host would
// pass on.
func errInCloud(host, model string) error {
	return &backend.Error{
		Host: host, Class: backend.Forbidden,
		Message: fmt.Sprintf("model %q runs in Ollama's cloud, and this request must not be sent to a cloud (local_only, the caller's key, or --no-cloud)", model),
	}
}

// checkOrigin returns an error, before a request is sent, if the request may not leave for a
// cloud and would. If neither a description nor an answer has said where the model runs, it
// requests a description from the host first, once for each installation of the model.
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
		_, known = l.host.origins.reported[key]
	}
	m.pool.mu.Unlock()
	if !known {
		var err error
		if cloud, err = backend.RunsInCloud(ctx, m.Backend, model); err != nil {
			return err
		}
		m.pool.learnOrigin(l.host, key, cloud)
	}
	if cloud {
		return errInCloud(m.Name(), key)
	}
	return nil
}

// checkRemote records the cloud that an answer names, if any. It returns an error if the request
// should not have left.
func (m *measured) checkRemote(remote string) error {
	l := m.lease
	if remote == "" {
		return nil
	}
	m.pool.learnOrigin(l.host, l.key().model, true)
	if !l.ticket.Key.localOnly {
		return nil
	}
	m.pool.opts.Log.Warn("host passed a request on to a cloud that must not be sent to one", "host", m.Name(), "model", l.key().model)
	return &backend.Error{
		Host: m.Name(), Class: backend.Forbidden,
		Message: fmt.Sprintf("the host passed the request on to a cloud without announcing it, although the request must not be sent to one (local_only, the caller's key, or --no-cloud); it is not asked for %q again", l.key().model),
	}
}

// ofCloud marks the error of a host that passed the request on, so that its explanation refers to
// the account that the host has with the cloud.
func (l *Lease) ofCloud(err error) error {
	failed, ok := errors.AsType[*backend.Error](err)
	if !ok || !l.Cloud || l.host.isAllCloud { // of which we have the key ourselves
		return err
	}
	marked := *failed
	marked.Cloud = true
	return &marked
}

// CloudStats describe the part of a host that is in Ollama's cloud.
type CloudStats struct {
	Models      []string // known to run there, by canonical name
	Well        bool
	Why         string // why it is not well, or still on trial; "" otherwise
	Busy, Slots int
	Breaker     string    // "closed", "open" or "half-open"
	Until       time.Time // when an open breaker lets a trial call through; the zero Time when closed
}

// cloudPart is the part of a host that is in the cloud; nil if it has none, or is that part.
func (h *host) cloudPart() *host {
	if h.isCloudPart {
		return nil
	}
	return h.part
}

// cloudStats returns the statistics of a host's cloud part; nil if it has none.
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
		maps.Copy(models, h.origins.reported)
	}
	maps.DeleteFunc(models, func(_ string, cloud bool) bool { return !cloud })
	return slices.Sorted(maps.Keys(models))
}
