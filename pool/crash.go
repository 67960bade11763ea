package pool

import (
	"context"
	"errors"
	"slices"
	"time"

	"ollama-mcp/internal/backend"
)

// crashed takes in that the process which ran a lease's model has died. Ollama tells one
// of the calls that it was answering, lets the others hang for as long as their callers
// stay, and does not start the model anew before they have left. So they are ended, a
// moment later, since some may have their end on its way. It is too short for a new
// process to have begun, so what has come by then is of the one that died.
func (p *Pool) crashed(l *Lease, err error, now time.Time) {
	model := l.key().model
	own := l.own
	own.crashed, own.answered = now, time.Time{} // or it would be taken for one that another has driven out
	delete(l.host.memory, model)
	if p.opts.InMemory { // of the many processes of a provider, one has died
		return
	}
	time.AfterFunc(loadedAtOnce, func() {
		hung := p.hungCalls(l.host, model, now)
		p.opts.Log.Warn("model crashed", "host", l.host.name, "model", model, "others", len(hung), "error", err)
		for _, end := range hung {
			end(err)
		}
	})
}

// hungCalls returns functions that end the requests which hang after a crash. A host has one
// process for a model, whatever the options of its calls.
func (p *Pool) hungCalls(h *host, model string, crashed time.Time) (ends []context.CancelCauseFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range h.lent {
		if l.key().model == model && l.began.Before(crashed) && l.seen.pieces && l.end != nil {
			ends = append(ends, l.end)
		}
	}
	return ends
}

// crashWindow is how long after a crash the last of the calls that it ends should have
// failed.
const crashWindow = 2 * time.Second

// isPartOfCrash reports whether a lease that failed did so because of a crash that another
// has told of.
func (l *Lease) isPartOfCrash(err error, now time.Time) bool {
	switch backend.ClassOf(err) {
	case backend.Server, backend.Crashed:
		own := l.own
		return l.began.Before(own.crashed) && now.Sub(own.crashed) < crashWindow
	}
	return false
}

// causeOf is why a request failed: the crash for which it was ended, if it was.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, backend.Crashed) {
		return cause
	}
	return err
}

// mayBeWhy reports whether the model may have died because of a lease: nothing had come of
// its answer, or no other was under way. Of several that were, the host tells any.
func (l *Lease) mayBeWhy(now time.Time) bool {
	own := l.own
	isPart := l.began.Before(own.crashed) && now.Sub(own.crashed) < crashWindow
	return !l.seen.pieces || own.lent <= 1 && !isPart
}

// mostCrashes is how many models may crash under a request before it is given up.
const mostCrashes = 2

// crashes is how many models have died under a request that it may be to blame for. Beside
// one that is, others that had just begun are told the same, so hosts try such suspects one
// at a time. Then the second crash is that of whoever is to blame, and the others are
// answered.
func crashes(failed []Failure) (n int) {
	for _, f := range failed {
		if f.crashed {
			n++
		}
	}
	return n
}

// isRetryingAfterCrash reports whether a call under which a model has crashed is on the host, and
// nothing has come of it yet.
func (h *host) isRetryingAfterCrash() bool {
	return slices.ContainsFunc(h.lent, func(l *Lease) bool { return l.ticket.Key.afterCrash && !l.seen.pieces })
}
