package pool

import (
	"maps"
	"time"
)

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
