package pool

import (
	"strconv"
)

// memory is what a host is believed to hold in memory, by model.
type memory map[string]resident

// resident is a model in memory.
type resident struct {
	runner string // the options that it was loaded with, as in modelKey
	numCtx string // "" if they left it to the host
	seen   bool   // by a check, which tells of the options only the context
}

// holds reports whether a call would be served without loading.
func (m memory) holds(key modelKey) bool {
	r, ok := m[key.model]
	switch {
	case !ok:
		return false
	case r.seen:
		return key.numCtx == "" || key.numCtx == r.numCtx
	}
	return r.runner == key.runner
}

// hold notes a model that a call has shown to be in memory.
func (m memory) hold(key modelKey) {
	m[key.model] = resident{runner: key.runner, numCtx: key.numCtx}
}

// saw is the memory that a check found. It tells less than our own calls do, so
// what they have shown is kept where it does not contradict.
func (m memory) saw(loaded []Loaded) memory {
	found := make(memory, len(loaded))
	for _, l := range loaded {
		r := resident{numCtx: strconv.Itoa(l.NumCtx), seen: true}
		if own, ok := m[l.Model]; ok && !own.seen && (own.numCtx == "" || own.numCtx == r.numCtx) {
			r = own
		}
		found[l.Model] = r
	}
	return found
}
