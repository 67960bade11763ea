package pool

import "cmp"

// memory records which models a host is believed to have in memory.
type memory map[string]resident

// resident is a model in memory.
type resident struct {
	others  string // runner options of the model except num_ctx, as in modelKey
	numCtx  int    // tokens of context; 0 if not known
	asked   int    // num_ctx that was requested, if the model is limited to numCtx; 0 otherwise
	chosen  bool   // the host chose numCtx, since the options did not set it
	seen    bool   // a check found the model, and so only its context is known
	checked bool   // a check has reported numCtx since the model was loaded
}

// option returns the num_ctx with which the model was loaded; 0 if it is not known. A request with
// another value would reload the model.
func (r resident) option() int { return cmp.Or(r.asked, r.numCtx) }

// mayHave reports whether a model that a call has loaded may be the one that a check found with
// some context. A smaller context than requested is the limit of the model, unless an earlier check
// reported a larger one: then others have reloaded the model.
func (r resident) mayHave(numCtx int) bool {
	return r.numCtx == 0 || r.numCtx == numCtx || !r.checked && numCtx > 0 && numCtx < r.numCtx
}

// holds reports whether a call can be served without loading.
func (m memory) holds(key modelKey) bool {
	r, ok := m[key.model]
	switch {
	case !ok || !r.seen && r.others != key.others:
		return false
	case key.numCtx == 0:
		return r.seen || r.chosen
	}
	return key.numCtx == r.option()
}

// chosenContext returns the context that the host chose for a call's model, if that serves the
// call; 0 if it does not, or the context is not known. Requests must not send this number: Ollama
// compares requested numbers, and would reload a model whose limit is below the host's default.
func (m memory) chosenContext(key modelKey) int {
	if r := m[key.model]; r.chosen && m.holds(key) {
		return r.numCtx
	}
	return 0
}

// hold records a model that a call has shown to be in memory.
func (m memory) hold(key modelKey) {
	r := resident{others: key.others, numCtx: key.numCtx, chosen: key.numCtx == 0}
	if m.holds(key) { // its context has not changed
		own := m[key.model]
		r.numCtx, r.asked, r.checked, r.chosen = own.numCtx, own.asked, own.checked, r.chosen || own.chosen
	}
	m[key.model] = r
}

// merge returns the memory as a check found it. A check reports less than calls show, so what they
// have shown is kept where the check does not contradict it.
func (m memory) merge(loaded []Loaded) memory {
	found := make(memory, len(loaded))
	for _, l := range loaded {
		r := resident{numCtx: l.NumCtx, seen: true, checked: true}
		if own, ok := m[l.Model]; ok && !own.seen && own.mayHave(l.NumCtx) {
			r = own
			if l.NumCtx < own.numCtx {
				r.asked = own.numCtx
			}
			r.numCtx, r.checked = l.NumCtx, true
		}
		found[l.Model] = r
	}
	return found
}
