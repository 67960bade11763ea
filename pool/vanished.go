package pool

import (
	"errors"
	"fmt"
	"time"

	"ollama-mcp/internal/backend"
)

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
