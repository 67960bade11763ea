package pool

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"ollama-mcp/internal/backend"
)

// longestRest bounds how long a host is left alone that asks for it with Retry-After, so that
// a slip of its operator does not last for ever.
const longestRest = time.Hour

// rest is a time for which a host has asked to be left alone. The zero rest is over.
type rest struct {
	since time.Time
	err   *backend.Error // with which it did; nil for none
}

// until is when the host may be asked again.
func (r rest) until() time.Time {
	if r.err == nil {
		return time.Time{}
	}
	return r.since.Add(min(r.err.RetryAfter, longestRest))
}

// refusal is the error of a call that does not wait for the end of the rest.
func (r rest) refusal(now time.Time) error {
	left := r.since.Add(r.err.RetryAfter).Sub(now)
	return &backend.Error{
		Host: r.err.Host, Class: r.err.Class, Status: r.err.Status, RetryAfter: left, Err: r.err,
		Message: fmt.Sprintf("%s; %s", r.err.Message, r.words(left)),
	}
}

// words say that there is so much left of the rest.
func (r rest) words(left time.Duration) string {
	if r.err.Class == backend.NoCredit {
		return fmt.Sprintf("not asked again for %v", roundUp(left))
	}
	return fmt.Sprintf("asked us to wait %v", roundUp(left))
}

// rests takes in that a host asks to be left alone, if that is what an error says, and
// reports whether it does. Too many requests (429) are those for one model, since providers
// count by model. Credit that is spent is that of a provider, and of an Ollama server that of
// the clouds behind some of its models. Anything else is about the whole host.
func (l *Lease) rests(err error, now time.Time) bool {
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
	if r := (rest{now, said}); r.until().After(of.until()) { // another call may have been told more
		*of = r
	}
	return true
}

// restFor is the rest that keeps calls for a model from a host, the later one if there are
// two.
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

// whyResting returns why a call is not to wait for hosts that have asked to be left alone;
// nil if it may, or if there is one that has not. It is the reason of the host that may be
// asked first.
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

// refuseResting ends the wait of requests that are not to wait for a rest.
func (p *Pool) refuseResting(now time.Time) {
	for _, t := range p.queue.WithKey(func(groupKey) bool { return true }) {
		if err := p.whyResting(t.Value, now); err != nil {
			p.refuse(t, err, now)
		}
	}
}

// untilRested is how long a call that comes now waits for a host which has asked to be left
// alone; 0 if there is one that has not.
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

// refusalFor is how long a host that has no room for a model is not asked for it again:
// each time, it may first unload the models that it holds.
const refusalFor = time.Minute

// refusal is what a host said that has no room for a model.
type refusal struct {
	err   error
	until time.Time
}

// refuse takes in that the host has no room for a model with the options asked.
func (h *host) refuse(k modelKey, err error, now time.Time) {
	maps.DeleteFunc(h.noRoom, func(_ modelKey, r refusal) bool { return !now.Before(r.until) })
	h.noRoom[k] = refusal{err, now.Add(refusalFor)}
}

// hasNoRoom is what the host said of late, if it has no room for a model; else nil.
func (h *host) hasNoRoom(k modelKey, now time.Time) error {
	if r, ok := h.noRoom[k]; ok && now.Before(r.until) {
		return r.err
	}
	return nil
}
