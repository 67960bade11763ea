package pool

import (
	"errors"
	"fmt"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/breaker"
)

// Facts are the results of a check of a host.
type Facts struct {
	Up      bool
	Err     error  // why the host is not up
	Version string // "" if it was not requested

	Installed []string // canonical models; nil if they were not requested
	Cloud     []string // models of Installed that Ollama's cloud runs
	Replaced  []string // models of Installed whose files have changed since the last list
	Loaded    []Loaded // models in memory; nil if they were not requested
}

// Loaded is a model in a host's memory.
type Loaded struct {
	Model   string    // canonical
	NumCtx  int       // size of its context, in tokens
	VRAM    float64   // fraction of it on the GPU, 0 to 1
	Expires time.Time // when the host unloads it
}

// Know updates the pool with the results of a check of a host. Hosts that are not in the pool are
// ignored, since a check may outlast its host.
func (p *Pool) Know(name string, f Facts) {
	changes, ends := p.know(name, f)
	p.changed(changes...)
	for _, end := range ends {
		end()
	}
}

// know does the work of Know under the lock. It returns what has changed, and functions that end requests on
// a host that has vanished.
func (p *Pool) know(name string, f Facts) (changes []Change, ends []func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.named(name)
	if h == nil {
		return nil, nil
	}
	now := time.Now()
	p.changes++
	before := h.trusted(now)
	defer func() { changes = h.changeOf(before, now) }()
	if !f.Up {
		h.markDown(f.Err, now)
		if h.part != nil {
			h.part.down, h.part.trouble = true, h.trouble
		}
		return nil, p.noteUnreachable(h, now)
	}
	h.unreached = time.Time{}
	if h.down {
		h.down, h.trouble = false, nil
	}
	h.breaker.Heal(now)
	for _, own := range h.models.All() {
		own.breaker.Heal(now)
	}
	h.learnFacts(f)
	if len(f.Cloud) > 0 {
		p.openCloud(h)
	}
	if part := h.part; part != nil {
		if part.down {
			part.down, part.trouble = false, nil
		}
		part.version, part.installed = h.version, h.installed
	}
	p.refuseUnservable()
	p.match()
	return nil, nil
}

// markDown records that a check could not reach the host, which is used from now on only if there
// is no other.
func (h *host) markDown(err error, now time.Time) {
	if err == nil {
		err = errors.New("not reachable")
	}
	h.down, h.trouble, h.loaded = true, err, nil
	h.uneasy = true
	if pass, ok := h.breaker.Allow(now); ok {
		h.breaker.Record(now, pass, breaker.Failure)
	}
	clear(h.noRoom)
	if len(h.lent) == 0 { // it may have been restarted
		clear(h.memory)
		h.resetSlots()
	}
}

func (h *host) learnFacts(f Facts) {
	if f.Version != "" {
		h.version = f.Version
	}
	if f.Installed != nil {
		h.installed = make(map[string]bool, len(f.Installed))
		for _, model := range f.Installed {
			h.installed[model] = true
		}
		if h.origins != nil {
			h.learnOrigins(f)
		}
	}
	if f.Loaded != nil {
		h.loaded = f.Loaded
		h.learnLoaded(f.Loaded)
	}
}

// errVanished is the cause with which the pool ends requests on a host that has vanished.
var errVanished = errors.New("the host has vanished")

// noteUnreachable records a check that could not reach the host. If the one before could not either, and the host
// has sent nothing to anybody in between, it has vanished, as a laptop does whose lid is shut. Its connections would
// not tell for minutes. noteUnreachable returns functions that end the requests on it.
func (p *Pool) noteUnreachable(h *host, now time.Time) (ends []func()) {
	before := h.unreached
	h.unreached = now
	if before.IsZero() || h.hasSent(before) || h.part != nil && h.part.hasSent(before) {
		return nil
	}
	ends = p.lostCalls(h, before, now)
	if h.part != nil {
		ends = append(ends, p.lostCalls(h.part, before, now)...)
	}
	if len(ends) > 0 {
		p.opts.Log.Warn("host has vanished", "host", h.name, "calls", len(ends), "error", h.trouble)
	}
	return ends
}

// hasSent reports whether the host has sent an answer, or a piece of one, since a time.
func (h *host) hasSent(since time.Time) bool {
	if h.answered.After(since) {
		return true
	}
	for _, own := range h.models.All() {
		if heard := own.silence.heard.Load(); heard != nil && heard.After(since) {
			return true
		}
	}
	return false
}

// lostCalls returns functions that end the requests on the host which began before a time, so that they are sent to
// another host that is well, or go to the next rung of their callers. Requests that could do neither wait, since the
// host may come back.
func (p *Pool) lostCalls(h *host, since, now time.Time) (ends []func()) {
	for _, l := range h.lent {
		end, k := l.end, l.ticket.Key
		if end == nil || !l.began.Before(since) {
			continue
		}
		err := &backend.Error{
			Host: h.name, Class: backend.Transport, Err: errVanished,
			Message: fmt.Sprintf("nothing has come for %v, and it does not answer checks", roundUp(now.Sub(since))),
		}
		k.tried += h.name + "\x00"
		if _, well := p.others(k, now); !well {
			if l.maxPause == longestPause { // there is no other rung
				continue
			}
			err.RetryAfter = longestPause
		}
		ends = append(ends, func() { end(err) })
	}
	return ends
}
