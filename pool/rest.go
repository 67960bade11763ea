package pool

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"ollama-mcp/internal/backend"
)

// longestRest limits how long a host is left alone that asks for it with Retry-After, so that a
// mistake of its operator has an end.
const longestRest = time.Hour

// rest is a period for which a host has asked to be left alone. The zero rest is over.
type rest struct {
	since time.Time
	err   *backend.Error // the error that asked for it; nil for none
}

// until returns when the rest is over.
func (r rest) until() time.Time {
	if r.err == nil {
		return time.Time{}
	}
	return r.since.Add(min(r.err.RetryAfter, longestRest))
}

// refusal returns the error of a call that does not wait for the end of the rest.
func (r rest) refusal(now time.Time) error {
	left := r.since.Add(r.err.RetryAfter).Sub(now)
	return &backend.Error{
		Host: r.err.Host, Class: r.err.Class, Status: r.err.Status, RetryAfter: left, Err: r.err,
		Message: fmt.Sprintf("%s; %s", r.err.Message, r.words(left)),
	}
}

// words say how much is left of the rest.
func (r rest) words(left time.Duration) string {
	if r.err.Class == backend.NoCredit {
		return fmt.Sprintf("not asked again for %v", roundUp(left))
	}
	return fmt.Sprintf("asked us to wait %v", roundUp(left))
}

// startRest begins a rest if an error asks for one, and reports whether it does. Status 429 (too
// many requests) rests one model, since providers count requests by model. On an Ollama server,
// spent credit rests one model too, since the account is one with the cloud behind it. Anything
// else rests the whole host.
func (l *Lease) startRest(err error, now time.Time) bool {
	said, ok := errors.AsType[*backend.Error](err)
	if !ok || said.RetryAfter <= 0 {
		return false
	}
	of := &l.host.rest
	switch class := said.Class; {
	case class == backend.Overload && said.Status == http.StatusTooManyRequests, class == backend.NoCredit && l.host.origins != nil && !l.host.isCloudPart:
		of = &l.own.rest
	case class == backend.Overload, class == backend.Server, class == backend.Unauthorized, class == backend.NoCredit:
	default:
		return false
	}
	if r := (rest{now, said}); r.until().After(of.until()) { // another call may have been told to wait longer
		*of = r
	}
	return true
}

// restFor returns the rest that applies to calls for a model, the longer one if there are two.
func (h *host) restFor(model string) rest {
	own := known(&h.models, model)
	if own == nil || h.rest.until().After(own.rest.until()) {
		return h.rest
	}
	return own.rest
}

// isResting reports whether the host has asked to be left alone with calls for a model.
func (h *host) isResting(model string, now time.Time) bool {
	return now.Before(h.restFor(model).until())
}

// whyResting returns the error of a call all of whose hosts have asked to be left alone for longer
// than it may wait; nil otherwise. It is the error of the host that is available first.
func (p *Pool) whyResting(l *Lease, now time.Time) error {
	k := l.ticket.Key
	var first rest
	for _, h := range p.hosts {
		if !h.could(k, now) {
			continue
		}
		r := h.restFor(k.model.model)
		if !now.Before(r.until()) {
			return nil
		}
		if first.err == nil || r.until().Before(first.until()) {
			first = r
		}
	}
	if first.err == nil {
		return nil
	}
	if until := first.until(); until.Sub(now) <= l.maxPause && !l.deadline.before(until.Add(p.expected(k.model))) {
		return nil
	}
	return first.refusal(now)
}

// refuseResting ends the wait of calls that may not wait for a rest.
func (p *Pool) refuseResting(now time.Time) {
	for _, t := range p.queue.WithKey(func(groupKey) bool { return true }) {
		if err := p.whyResting(t.Value, now); err != nil {
			p.refuse(t, err, now)
		}
	}
}

// untilRested returns how long a call that arrives now waits for the end of a rest; 0 if a host is
// not resting.
func (p *Pool) untilRested(k groupKey, now time.Time) (least time.Duration) {
	for _, h := range p.hosts {
		if !h.could(k, now) {
			continue
		}
		left := h.restFor(k.model.model).until().Sub(now)
		if left <= 0 {
			return 0
		}
		if least == 0 || left < least {
			least = left
		}
	}
	return least
}

// noRoomFor is how long a host without room for a model gets no more requests for it: each time, it
// may first unload the models that it has.
const noRoomFor = time.Minute

// lackOfRoom is the error of a host without room for a model, and how long it counts.
type lackOfRoom struct {
	err   error
	until time.Time
}

// noteNoRoom records that the host has no room for a model with some options.
func (h *host) noteNoRoom(k modelKey, err error, now time.Time) {
	maps.DeleteFunc(h.noRoom, func(_ modelKey, r lackOfRoom) bool { return !now.Before(r.until) })
	h.noRoom[k] = lackOfRoom{err, now.Add(noRoomFor)}
}

// hasNoRoom returns the recent error of the host if it has no room for a model; nil otherwise.
func (h *host) hasNoRoom(k modelKey, now time.Time) error {
	if r, ok := h.noRoom[k]; ok && now.Before(r.until) {
		return r.err
	}
	return nil
}
