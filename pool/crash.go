package pool

import (
	"context"
	"errors"
	"slices"
	"time"

	"ollama-mcp/internal/backend"
)

// noteCrash records that the process which ran a lease's model has died. Ollama reports that to
// one of the calls, lets the others hang for as long as their callers wait, and does not restart
// the model before they have left. So the pool ends them a moment later, since the end of some
// may be on its way. A new process cannot have started by then, so any call that has received
// pieces belonged to the process that died.
func (p *Pool) noteCrash(l *Lease, err error, now time.Time) {
	model := l.key().model
	own := l.own
	own.crashed, own.answered = now, time.Time{} // otherwise the model would seem to have been evicted by another
	delete(l.host.memory, model)
	if p.opts.InMemory { // a provider has many processes, of which one has died
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

// hungCalls returns functions that end the requests which hang after a crash. A host runs one
// process for each model, whatever the options of the calls.
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

// crashWindow is the time within which all calls that a crash ends should have failed.
const crashWindow = 2 * time.Second

// isPartOfCrash reports whether a lease failed because of a crash that another lease has
// reported.
func (l *Lease) isPartOfCrash(err error, now time.Time) bool {
	switch backend.ClassOf(err) {
	case backend.Server, backend.Crashed:
		own := l.own
		return l.began.Before(own.crashed) && now.Sub(own.crashed) < crashWindow
	}
	return false
}

// causeOf returns why a request failed: the crash, or the loss of its host, if the pool ended the request because of one.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && (errors.Is(cause, backend.Crashed) || errors.Is(cause, errVanished)) {
		return cause
	}
	return err
}

// mayBeWhy reports whether the request of a lease may have crashed the model: its answer had not
// begun, or no other request was under way. If several were, the host reports the crash to any
// of them.
func (l *Lease) mayBeWhy(now time.Time) bool {
	own := l.own
	isPart := l.began.Before(own.crashed) && now.Sub(own.crashed) < crashWindow
	return !l.seen.pieces || own.lent <= 1 && !isPart
}

// mostCrashes is the number of crashes after which a request is given up.
const mostCrashes = 2

// crashes counts the crashes that a request may have caused. A crash is reported to innocent
// requests too, if they had just begun, so hosts retry such suspects one at a time. Then the
// second crash is the fault of the request that it happens to, and the others are answered.
func crashes(failed []Failure) (n int) {
	for _, f := range failed {
		if f.crashed {
			n++
		}
	}
	return n
}

// isRetryingAfterCrash reports whether the host works on a call that may have crashed a model, and
// has not begun to answer it.
func (h *host) isRetryingAfterCrash() bool {
	return slices.ContainsFunc(h.lent, func(l *Lease) bool { return l.ticket.Key.afterCrash && !l.seen.pieces })
}
